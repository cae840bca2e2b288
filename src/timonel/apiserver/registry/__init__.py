"""Objects behind the API: the write path, deletion, lists and their pages. HTTP stays outside, in `verbs`."""
