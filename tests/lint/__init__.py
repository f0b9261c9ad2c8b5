"""What httplint says of the exchanges of each adapter, over real servers."""
