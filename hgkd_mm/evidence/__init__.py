"""The claims of the study beside its records, and the page that is generated from both."""
