"""Who pays for a deficit, stage by stage. Every function here plans; the clearing applies."""
