package control_test

import (
	"errors"
	"testing"

	"tandem/internal/eventfd"
	"tandem/virtio"
	"tandem/virtio/internal/control"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// transport counts what the registers ask of it. All else is tested through the
// real transports, by virtiotest.Suite.
type transport struct{ configs, resets int }

func (t *transport) QueueInterrupt(int) queue.Interrupt { return silent{} }
func (t *transport) ConfigInterrupt()                   { t.configs++ }
func (t *transport) ResetTransport()                    { t.resets++ }

type silent struct{}

func (silent) Signal()            {}
func (silent) Event() *eventfd.FD { return nil }

func newRegisters(t *testing.T, dev virtio.Device) (*control.Registers, *transport, *[]error) {
	t.Helper()
	var (
		tr      transport
		reports []error
	)
	r, err := control.New(dev, virtiotest.NewMemory(t), &tr, control.Options{
		Report: func(err error) { reports = append(reports, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, &tr, &reports
}

func TestFeatureWords(t *testing.T) {
	r, _, _ := newRegisters(t, virtiotest.NewEcho(1, 16))
	want := uint64(1<<0 | 1<<28 | 1<<29 | 1<<32 | 1<<40)
	for sel, want := range map[uint32]uint32{0: uint32(want), 1: uint32(want >> 32), 2: 0, 1 << 31: 0} {
		if got := r.DeviceFeatures(sel); got != want {
			t.Errorf("word %d = %#x, want %#x", sel, got, want)
		}
	}
	r.SetDriverFeatures(0, 0x12345678)
	r.SetDriverFeatures(1, 0x9abcdef0)
	r.SetDriverFeatures(2, 0xffffffff)
	r.SetDriverFeatures(0, 1)
	if got := r.DriverFeatures(0); got != 1 {
		t.Errorf("word 0 = %#x, want 1", got)
	}
	if got := r.DriverFeatures(1); got != 0x9abcdef0 {
		t.Errorf("word 1 = %#x, want 0x9abcdef0", got)
	}
}

// TestStatus takes the status register through the states of a device. Each step says
// what is written, and what reads back then.
func TestStatus(t *testing.T) {
	const ack, driver, ok, features, needsReset, failed = 1, 2, 4, 8, 64, 128
	for _, c := range []struct {
		name            string
		features        uint64
		steps           [][2]uint8
		configs, resets int
		report          string
	}{
		{
			"as a driver does", 1 << 32,
			[][2]uint8{{0, 0}, {ack, 1}, {ack | driver, 3}, {ack | driver | features, 11}, {15, 15}, {0, 0}},
			0, 2, "",
		},
		{
			"features that are refused", 1<<32 | 1<<34,
			[][2]uint8{{ack | driver, 3}, {11, 3}, {11, 3}, {0, 0}},
			0, 1, "",
		},
		{
			"all at once", 1 << 32,
			[][2]uint8{{15, 15}, {0, 0}},
			0, 1, "",
		},
		{
			"all at once, refused", 0,
			[][2]uint8{{15, 7 | needsReset}, {15, 7 | needsReset}, {0, 0}},
			1, 1, "virtio: device 63 needs a reset: DRIVER_OK before FEATURES_OK",
		},
		{
			"the driver gives up", 1 << 32,
			[][2]uint8{{11, 11}, {failed, 11 | failed}, {0, 0}},
			0, 1, "",
		},
		{
			"bits that are not the driver's", 1 << 32,
			[][2]uint8{{needsReset, 0}, {16 | 32, 0}, {ack | needsReset, ack}},
			0, 0, "",
		},
	} {
		r, tr, reports := newRegisters(t, virtiotest.NewEcho(1, 16))
		r.SetDriverFeatures(0, uint32(c.features))
		r.SetDriverFeatures(1, uint32(c.features>>32))
		for i, step := range c.steps {
			if step[0] == 0 && i == 0 {
				r.SetStatus(0) // forgets the features
				r.SetDriverFeatures(1, uint32(c.features>>32))
				continue
			}
			r.SetStatus(step[0])
			if got := r.Status(); got != step[1] {
				t.Errorf("%s: status after writing %d = %d, want %d", c.name, step[0], got, step[1])
			}
		}
		if tr.configs != c.configs || tr.resets != c.resets {
			t.Errorf("%s: %d configuration interrupts and %d resets, want %d and %d", c.name, tr.configs, tr.resets, c.configs, c.resets)
		}
		if got := errors.Join(*reports...); (got == nil) != (c.report == "") || got != nil && got.Error() != c.report {
			t.Errorf("%s: reports %v, want %q", c.name, got, c.report)
		}
	}
}

// TestNoSuchQueue uses numbers of queues that are not there.
func TestNoSuchQueue(t *testing.T) {
	r, _, reports := newRegisters(t, virtiotest.NewEcho(2, 16))
	for _, i := range []uint32{2, 3, 0xffff, 0xffffffff} {
		r.Change(i, func(*control.Queue) { t.Errorf("queue %d was changed", i) })
		r.Enable(i)
		r.Disable(i)
		r.ResetQueue(i)
		r.Notify(int(i))
		if q := r.Queue(i); q != (control.Queue{}) || r.MaxSize(i) != 0 {
			t.Errorf("queue %d = %+v", i, q)
		}
	}
	r.Notify(-1)
	if len(*reports) != 0 {
		t.Errorf("reports = %v", *reports)
	}
}
