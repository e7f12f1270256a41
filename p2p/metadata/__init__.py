"""What is known about content: tags, repositories, reachability."""
