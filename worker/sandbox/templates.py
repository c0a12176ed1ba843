"""The pages a customer sees: plain HTML that needs no script and nothing from elsewhere."""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme: light dark; --page: #f4f5f7; --card: #fff; --ink: #1b1f27; --soft: #5b6472;
  --line: #cfd5dd; --accent: #3d4ed8; --on-accent: #fff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #12151b; --card: #1b2029; --ink: #eceff4;
  --soft: #a3adbb; --line: #3a4351; --accent: #96a3ff; --on-accent: #12151b; --bad: #ff9c94; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
body > p { margin: 0; padding: .5rem 1rem; text-align: center; font-size: .875rem;
  background: var(--ink); color: var(--page); }
main { max-width: 27rem; margin: 2rem auto; padding: 1.75rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem; overflow-wrap: anywhere; }
@media (max-width: 30rem) { main { margin: 0; border: 0; border-radius: 0; min-height: 100vh; } }
h1 { margin: 0 0 .25rem; font-size: 1.375rem; line-height: 1.3; }
main p { margin: 0 0 1.25rem; white-space: pre-line; }
main > p:last-child { margin: 0; }
.soft, details { color: var(--soft); font-size: .875rem; }
.bad { margin: .5rem 0 0; color: var(--bad); font-size: .875rem; }
label { display: block; margin-bottom: .375rem; font-weight: 600; font-size: .875rem; }
input { width: 100%; padding: .75rem; font: inherit; font-variant-numeric: tabular-nums;
  color: inherit; background: transparent; border: 1px solid var(--line); border-radius: .5rem; }
input[aria-invalid] { border-color: var(--bad); }
button, .button { display: block; width: 100%; padding: .75rem; font: inherit; font-weight: 600;
  text-align: center; text-decoration: none; cursor: pointer; border-radius: .5rem;
  color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent); }
.quiet { margin-top: .75rem; color: inherit; background: transparent; border-color: var(--line); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.field { margin-bottom: 1.25rem; }
details { margin-top: 1.5rem; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem .875rem; margin: .5rem 0 0; }
dt { font-variant-numeric: tabular-nums; white-space: nowrap; }
dd { margin: 0; }
"""

TEST_CARDS = {
    "4242 4242 4242 4242": "is saved and pays",
    "4000 0025 0000 3155": "asks for authentication now, then pays",
    "4000 0027 6000 3184": "asks for authentication every time",
    "4000 0000 0000 0341": "is saved, then declines",
    "4000 0000 0000 0002": "is refused",
}


def page(title: str, content: str) -> str:
    """A whole page around its content."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} – Stripe sandbox</title>
<style>{STYLE}</style>
</head>
<body>
<p>Stripe sandbox: no real card, no real money</p>
<main>
<h1>{escape(title)}</h1>
{content}
</main>
</body>
</html>
"""


def checkout(
    customer: str | None,
    message: str | None,
    cancel_url: str | None,
    number: str = "",
    problem: str | None = None,
) -> str:
    """Where a customer types the number of a card."""
    owner = f'<p class="soft">for {escape(customer)}</p>' if customer else "<p></p>"
    wrong = f'<p class="bad" id="wrong" role="alert">{escape(problem)}</p>' if problem else ""
    invalid = ' aria-invalid="true" aria-describedby="wrong"' if problem else ""
    back = f'<a class="button quiet" href="{escape(cancel_url)}">Cancel</a>' if cancel_url else ""
    cards = "".join(f"<dt>{number}</dt><dd>{what}</dd>" for number, what in TEST_CARDS.items())
    return page(
        "Save a card",
        f"""{owner}
<form method="post">
<div class="field">
<label for="number">Card number</label>
<input id="number" name="number" inputmode="numeric" autocomplete="off" spellcheck="false"
 value="{escape(number)}" placeholder="4242 4242 4242 4242" required autofocus{invalid}>
{wrong}
</div>
{f"<p>{escape(message)}</p>" if message else ""}
<button>Save card</button>
{back}
</form>
<details>
<summary>Test cards</summary>
<dl>{cards}</dl>
</details>""",
    )


def authentication(question: str) -> str:
    """Where a bank asks its customer whether it is really them (3D Secure)."""
    return page(
        "Is it you?",
        f"""<p class="soft">3D Secure, as your bank would ask</p>
<p>{escape(question)}</p>
<form method="post">
<button name="outcome" value="complete">Complete authentication</button>
<button class="quiet" name="outcome" value="fail">Fail authentication</button>
</form>""",
    )


def notice(title: str, message: str) -> str:
    """A page that only says something."""
    return page(title, f"<p>{escape(message)}</p>")
