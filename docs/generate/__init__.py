"""The pages of the documents that are made from the config, the code and the record when the site is built."""
