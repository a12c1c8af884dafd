package kvm

import (
	"fmt"
	"iter"
	"math/bits"
	"os"
)

// DirtyBitmap has a bit for each page of a slot, the lowest bit of the first
// word for its first page.
type DirtyBitmap []uint64

// Has tells whether the page with this number within the slot is set.
func (b DirtyBitmap) Has(page uint64) bool {
	return page/64 < uint64(len(b)) && b[page/64]>>(page%64)&1 != 0
}

// Count is the number of pages set.
func (b DirtyBitmap) Count() int {
	n := 0
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

// Pages goes through the set pages' numbers within the slot, in order.
func (b DirtyBitmap) Pages() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i, word := range b {
			for ; word != 0; word &= word - 1 {
				if !yield(uint64(i)*64 + uint64(bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

// dirtyLog is struct kvm_dirty_log.
type dirtyLog struct {
	Slot   uint32
	_      uint32
	Bitmap *uint64
}

func (l dirtyLog) String() string { return fmt.Sprintf("slot %d", l.Slot) }

// clearDirtyLog is struct kvm_clear_dirty_log.
type clearDirtyLog struct {
	Slot      uint32
	NumPages  uint32
	FirstPage uint64
	Bitmap    *uint64
}

func (l clearDirtyLog) String() string {
	return fmt.Sprintf("slot %d pages %d-%d", l.Slot, l.FirstPage, l.FirstPage+uint64(l.NumPages)-1)
}

// DirtyLog returns which pages of a slot with MemLogDirtyPages the guest
// wrote since the last call, and starts over: each page is write-protected
// again. After EnableManualDirtyLog it leaves that to ClearDirtyLog.
func (vm *VM) DirtyLog(slot uint32) (DirtyBitmap, error) {
	object := fmt.Sprintf("slot %d", slot)
	// Held over the ioctl: were the slot replaced by a larger one in between,
	// the kernel would write past the bitmap's end.
	vm.mu.Lock()
	defer vm.mu.Unlock()
	bitmap, err := vm.newBitmap(slot)
	if err != nil {
		return nil, &Error{Op: opGetDirtyLog, Object: object, Err: err}
	}
	log := dirtyLog{Slot: slot, Bitmap: &bitmap[0]}
	if _, err := ioctl(vm.descriptor, reqGetDirtyLog, &log); err != nil {
		return nil, &Error{Op: opGetDirtyLog, Object: object, Err: err}
	}
	return bitmap, nil
}

const manualProtectEnable = 1 << 0 // KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE

// EnableManualDirtyLog makes DirtyLog only read, and ClearDirtyLog clear
// (CapManualDirtyLogProtect2): a copier of memory then write-protects each
// part just before it copies it, and no page is dirtied twice for nothing.
func (vm *VM) EnableManualDirtyLog() error {
	return vm.EnableCap(CapManualDirtyLogProtect2, manualProtectEnable)
}

// ClearDirtyLog clears, of the pages from firstPage, those set in bitmap,
// whose lowest bit stands for firstPage. firstPage is a multiple of 64, and
// so is the number of pages unless it reaches the slot's end.
func (vm *VM) ClearDirtyLog(slot uint32, firstPage uint64, pages uint32, bitmap DirtyBitmap) error {
	fail := func(err error) error {
		return &Error{Op: opClearDirtyLog, Object: fmt.Sprintf("slot %d", slot), Err: err}
	}
	if pages == 0 || uint64(len(bitmap))*64 < uint64(pages) {
		return fail(fmt.Errorf("bitmap of %d words for %d pages", len(bitmap), pages))
	}
	log := clearDirtyLog{Slot: slot, NumPages: pages, FirstPage: firstPage, Bitmap: &bitmap[0]}
	if _, err := ioctl(vm.descriptor, reqClearDirtyLog, &log); err != nil {
		return fail(vm.because(err, CapManualDirtyLogProtect2))
	}
	return nil
}

// newBitmap is called with vm.mu held. The kernel writes whole words.
func (vm *VM) newBitmap(slot uint32) (DirtyBitmap, error) {
	s, ok := vm.slots[slot]
	if !ok {
		return nil, fmt.Errorf("no such slot")
	}
	pages := len(s.Memory) / os.Getpagesize()
	return make(DirtyBitmap, (pages+63)/64), nil
}
