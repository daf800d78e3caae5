"""`edgetts setup`, by subject: `look` (the machine), `ask` (questions), `licenses` (agreement), `plan` (what will be
done, how large and how long), `steps` (doing it), `verb`.

There is no file of progress: what exists on the disk says which steps are done, so that each can be repeated, and
another command may have done it.
"""
