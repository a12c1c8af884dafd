package console

import (
	"time"

	"tandem/internal/eventfd"
	"tandem/virtio"
)

// kicks are the eventfds that the workers wait on, by queue; nil where there is none.
type kicks []*eventfd.FD

func (k kicks) wake(queue int) {
	if queue < len(k) && k[queue] != nil {
		_ = k[queue].Signal() // it is closed: nobody is left to wake
	}
}

// idle is what a virtio.Serve returns that has nothing to do with the chain yet: wake says when it has.
var idle error = virtio.Later(time.Hour)
