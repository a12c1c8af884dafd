package pci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tandem/virtio"
)

// The MSI-X table. PCI 3.0, section 6.8.2.
const (
	tableEntry   = 16
	tableData    = 8
	tableControl = 12
	tableMasked  = 1

	noVector = 0xffff // VIRTIO_MSI_NO_VECTOR
)

// msix is the vector table and what lies behind it: one MSI of the host a vector. A
// vector's messages are delivered while MSI-X is enabled and neither the function
// nor the vector is masked. A signal to a vector that is masked stays in its
// eventfd, which is therefore the vector's pending bit.
type msix struct {
	report func(error)
	direct bool // deliver in the signaller's thread

	enabled atomic.Bool
	vectors []vector

	mu      sync.Mutex // guards what follows and the unexported state of vectors
	maskAll bool
	table   []byte
}

type vector struct {
	msi  virtio.MSI
	live atomic.Bool // the host delivers
	set  bool        // addr and data are the host's message
	addr uint64
	data uint32
}

// newMSIX takes n interrupts from the host; none if it has no such thing.
func newMSIX(host virtio.Host, n int, direct bool, report func(error)) (*msix, error) {
	m := &msix{report: report, direct: direct, vectors: make([]vector, n), table: make([]byte, n*tableEntry)}
	for i := range m.vectors {
		msi, err := host.MSI()
		if errors.Is(err, errors.ErrUnsupported) && i == 0 {
			return &msix{report: report}, nil
		}
		if err != nil {
			m.vectors = m.vectors[:i]
			return nil, errors.Join(fmt.Errorf("vector %d: %w", i, err), m.close())
		}
		m.vectors[i].msi = msi
	}
	m.reset()
	return m, nil
}

func (m *msix) close() error {
	var errs []error
	for i := range m.vectors {
		errs = append(errs, m.vectors[i].msi.Close())
	}
	return errors.Join(errs...)
}

// control follows the two bits of the message control register.
func (m *msix) control(enabled, maskAll bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.enabled.Load() == enabled && m.maskAll == maskAll {
		return
	}
	m.enabled.Store(enabled)
	m.maskAll = maskAll
	for i := range m.vectors {
		m.update(i)
	}
}

// reset masks every vector and forgets their messages.
func (m *msix) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enabled.Store(false)
	m.maskAll = false
	clear(m.table)
	for i := range m.vectors {
		m.table[i*tableEntry+tableControl] = tableMasked
		m.update(i)
	}
}

// drop forgets what is pending.
func (m *msix) drop() {
	for i := range m.vectors {
		if _, err := m.vectors[i].msi.Event().Clear(); err != nil {
			m.report(fmt.Errorf("vector %d: %w", i, err))
		}
	}
}

// read reads the table.
func (m *msix) read(off uint64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if off < uint64(len(m.table)) {
		copy(p, m.table[off:])
	}
}

// write writes the table: any part of an entry, or of several.
func (m *msix) write(off uint64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if off >= uint64(len(m.table)) {
		return
	}
	n := copy(m.table[off:], p)
	for i := int(off) / tableEntry; i*tableEntry < int(off)+n; i++ {
		// All bits of the control word but the mask are reserved: 0.
		control := m.table[i*tableEntry+tableControl:][:4]
		binary.LittleEndian.PutUint32(control, binary.LittleEndian.Uint32(control)&tableMasked)
		m.update(i)
	}
}

// update brings the host's interrupt in step with the table. A vector whose message
// the host refuses stays masked.
func (m *msix) update(i int) {
	v, entry := &m.vectors[i], m.table[i*tableEntry:][:tableEntry]
	live := m.enabled.Load() && !m.maskAll && entry[tableControl]&tableMasked == 0
	if live {
		addr, data := binary.LittleEndian.Uint64(entry), binary.LittleEndian.Uint32(entry[tableData:])
		if !v.set || v.addr != addr || v.data != data {
			if err := v.msi.Set(addr, data); err != nil {
				m.report(fmt.Errorf("vector %d: message %#x to %#x: %w", i, data, addr, err))
				v.set, live = false, false
			} else {
				v.set, v.addr, v.data = true, addr, data
			}
		}
	}
	if live == v.live.Load() {
		return
	}
	change, what := v.msi.Mask, "mask"
	if live {
		change, what = v.msi.Unmask, "unmask"
	}
	if err := change(); err != nil {
		m.report(fmt.Errorf("vector %d: %s: %w", i, what, err))
		return
	}
	v.live.Store(live)
}

// pending reads the pending bits from byte off on.
func (m *msix) pending(off uint64, p []byte) {
	for b := range p {
		for bit := range 8 {
			i := (off+uint64(b))*8 + uint64(bit)
			if i >= uint64(len(m.vectors)) {
				return
			}
			if v := &m.vectors[i]; !v.live.Load() && v.msi.Event().Pending() {
				p[b] |= 1 << bit
			}
		}
	}
}

// signal sends the message of a vector, or leaves it pending.
func (m *msix) signal(i uint32) {
	if i >= uint32(len(m.vectors)) {
		return // VIRTIO_MSI_NO_VECTOR: the driver wants none
	}
	v := &m.vectors[i]
	send := v.msi.Event().Signal
	if m.direct && v.live.Load() {
		send = v.msi.Send
	}
	if err := send(); err != nil {
		m.report(fmt.Errorf("vector %d: signal: %w", i, err))
	}
}
