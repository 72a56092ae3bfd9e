"""Records on disk: tables of ordered byte keys, and the two stores that hold them."""
