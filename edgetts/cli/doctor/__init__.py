"""`edgetts doctor`, by subject: `finding` (a result), `machine`, `model`, `around` (the checks), `checks`
(all of them in order), `verb`."""
