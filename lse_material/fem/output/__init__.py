"""What people look at: fields of a material, pictures, and where a solution leaves the training box."""
