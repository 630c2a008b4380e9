"""What the comparisons share: building, processes, servers, statistics, and what is written of them."""
