"""Where fixes come from: everything a pipeline needs to tell Fixbill about one."""
