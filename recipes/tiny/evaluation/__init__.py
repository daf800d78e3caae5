"""What a pack sounds like: words, speakers, streams, solvers, number formats. Takes any pack."""
