package cp

import (
	"errors"
	"io"
)

// Copy packs a source and unpacks it at a target, at the same time.
func Copy(t *Target, s *Source, pack PackOptions, unpack UnpackOptions) error {
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := Pack(w, s, t.name, pack)
		w.CloseWithError(err) // nil is the archive's end
		packed <- err
	}()
	err := t.Unpack(r, unpack)
	r.CloseWithError(errAborted) // the packer writes no more
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, errAborted) {
		return packErr // it is the cause of the other, whose archive broke off
	}
	return err
}

var errAborted = errors.New("the copy was given up")
