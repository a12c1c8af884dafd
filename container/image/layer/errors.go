package layer

import "errors"

// Why an archive is refused.
var (
	ErrEscape    = errors.New("leads out of the layer")
	ErrName      = errors.New("invalid name")
	ErrDuplicate = errors.New("the archive has this name twice")
	ErrTooLarge  = errors.New("larger than allowed")
	ErrDevice    = errors.New("device nodes are not allowed")
	ErrArchive   = errors.New("broken archive")
)
