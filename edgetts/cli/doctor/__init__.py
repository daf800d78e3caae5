"""`edgetts doctor`, by subject: `finding` (a result), `machine`, `model`, `around` (the checks), `verb`."""
