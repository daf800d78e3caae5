"""`edgetts say`, by idea: `options` (what can be asked for), `request` (what is said, checked), `output` (where it
goes, checked), `verb` (the order of things), `live` (speech that leaves while it is made), `finish` (what comes last).
"""
