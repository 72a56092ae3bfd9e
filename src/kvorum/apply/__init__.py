"""State after = f(state before, command): the only way replicated state changes."""
