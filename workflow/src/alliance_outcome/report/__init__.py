"""What people read: tables, figures, prose and their rendering."""
