"""What people look at: tables and images."""
