package stamps

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tandem/virtio/queue"
	"tandem/virtio/stamp"
)

// Stamp is a step of a ring that the kernel serves.
type Stamp struct {
	stamp.Stamp
	Worker uint32 // the thread's number, in the first PID namespace
	Ring   uint64 // struct vhost_virtqueue, where the kernel has it: tells rings apart; 0 of a tracepoint's stamp
	Avail  uint64 // the available ring in the owner's memory, as VHOST_SET_VRING_ADDR told it; 0 of a tracepoint's stamp
}

// A record as programs write it: offsets from its start, little-endian as the processor is.
const (
	recordTime   = 0
	recordRing   = 8
	recordAvail  = 16
	recordLength = 24
	recordWorker = 32
	recordHead   = 36
	recordIndex  = 38
	recordStage  = 40
	recordLen    = 48
)

var errRecord = errors.New("malformed record")

// parse reads a record. Stamp.Queue is for the caller to set, from Avail.
func parse(b []byte) (Stamp, error) {
	if len(b) < recordLen {
		return Stamp{}, fmt.Errorf("stamps: %w: %d bytes, want %d", errRecord, len(b), recordLen)
	}
	le := binary.LittleEndian
	stage := queue.Stage(b[recordStage])
	if stage.String() == "unknown" {
		return Stamp{}, fmt.Errorf("stamps: %w: stage %d", errRecord, stage)
	}
	return Stamp{
		Stamp: stamp.Stamp{
			Time: int64(le.Uint64(b[recordTime:])),
			Event: queue.Event{
				Stage: stage, Head: le.Uint16(b[recordHead:]), Index: le.Uint16(b[recordIndex:]), Length: le.Uint64(b[recordLength:]),
			},
		},
		Worker: le.Uint32(b[recordWorker:]), Ring: le.Uint64(b[recordRing:]), Avail: le.Uint64(b[recordAvail:]),
	}, nil
}
