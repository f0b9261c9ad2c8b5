-- KEYS any that lives on the node. Reply: its TIME in microseconds, its id.

return { string.format('%.0f', time), node }
