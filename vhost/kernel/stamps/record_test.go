package stamps

import (
	"errors"
	"testing"

	"tandem/virtio/queue"
	"tandem/virtio/stamp"
)

// written is a record as a program writes it.
var written = []byte{
	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, // time
	0x00, 0x80, 0x0a, 0x3f, 0x81, 0x88, 0xff, 0xff, // ring
	0x00, 0x10, 0x00, 0x12, 0xc0, 0x7f, 0x00, 0x00, // avail
	0xf6, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // length
	0x39, 0x30, 0x00, 0x00, // worker
	0xff, 0x00, 0xfe, 0xff, // head, index
	byte(queue.FrameSent), 0, 0, 0, 0, 0, 0, 0,
}

func TestParse(t *testing.T) {
	want := Stamp{
		Stamp: stamp.Stamp{
			Time:  0x0102030405060708,
			Event: queue.Event{Stage: queue.FrameSent, Head: 255, Index: 65534, Length: 1526},
		},
		Worker: 12345, Ring: 0xffff88813f0a8000, Avail: 0x7fc012001000,
	}
	if got, err := parse(written); err != nil || got != want {
		t.Errorf("parse = %+v, %v, want %+v", got, err, want)
	}
	for name, b := range map[string][]byte{
		"short":         written[:recordLen-1],
		"empty":         nil,
		"unknown stage": append(append([]byte{}, written[:recordStage]...), 200, 0, 0, 0, 0, 0, 0, 0),
	} {
		if got, err := parse(b); !errors.Is(err, errRecord) || got != (Stamp{}) {
			t.Errorf("%s: parse = %+v, %v, want %v", name, got, err, errRecord)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(written)
	f.Add(written[:13])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parse(b)
		if (err == nil) != (len(b) >= recordLen && b[recordStage] <= byte(queue.WorkerWoken)) {
			t.Fatalf("parse(%x) = %+v, %v", b, s, err)
		}
		if err != nil {
			return
		}
		if int(s.Stage) != int(b[recordStage]) || byte(s.Head) != b[recordHead] || byte(s.Worker) != b[recordWorker] {
			t.Fatalf("parse(%x) = %+v", b, s)
		}
	})
}
