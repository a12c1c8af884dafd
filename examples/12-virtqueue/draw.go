package main

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// draw prints the three tables as they are in memory.
func (d *driver) draw() {
	for i := range d.size {
		b := d.memory[descAt+descriptorSize*int(i):]
		length := binary.LittleEndian.Uint32(b[8:])
		if length == 0 {
			continue // never written
		}
		var says []string
		flags := binary.LittleEndian.Uint16(b[12:])
		if flags&descWrite != 0 {
			says = append(says, "WRITE")
		}
		if flags&descNext != 0 {
			says = append(says, fmt.Sprintf("NEXT %d", binary.LittleEndian.Uint16(b[14:])))
		}
		line := fmt.Sprintf("    desc  %d: %#x %2d bytes %s", i, binary.LittleEndian.Uint64(b), length, strings.Join(says, " "))
		fmt.Println(strings.TrimRight(line, " "))
	}
	var avail, used []string
	for i := range d.size {
		avail = append(avail, fmt.Sprint(binary.LittleEndian.Uint16(d.memory[availAt+ringSlots+availSlot*int(i):])))
		slot := d.memory[usedAt+ringSlots+usedSlot*int(i):]
		used = append(used, fmt.Sprintf("%d:%d", binary.LittleEndian.Uint32(slot), binary.LittleEndian.Uint32(slot[4:])))
	}
	ring := func(name string, at int, slots []string, event string, eventAt int) {
		fmt.Printf("    %s flags %d idx %d [%s] %s %d\n", name,
			binary.LittleEndian.Uint16(d.memory[at:]), binary.LittleEndian.Uint16(d.memory[at+2:]),
			strings.Join(slots, " "), event, binary.LittleEndian.Uint16(d.memory[eventAt:]))
	}
	ring("avail", availAt, avail, "used_event", d.usedEventAt())
	ring("used ", usedAt, used, "avail_event", d.availEventAt())
}
