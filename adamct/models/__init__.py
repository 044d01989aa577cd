"""One model, one file; ``conf/model`` holds the YAML of the same name."""
