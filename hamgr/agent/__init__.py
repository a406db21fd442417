"""The agent: an asyncio shell around the engine."""
