"""A checker in the style of Jepsen: processes that write and read at once, a nemesis, and a judge of what was seen."""
