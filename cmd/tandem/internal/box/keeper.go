package box

import "tandem/internal/process"

// Keeper names the process that looks after a box.
type Keeper = process.ID
