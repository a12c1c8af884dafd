// Package virtiotest plays the guest's side of virtio: a machine without a
// processor, drivers for both transports that work on registers alone, the driver's
// side of a virtqueue, and a suite of tests that every device and every transport
// has to pass.
//
//	test                 virtiotest                          under test
//
//	g.Start(...)  -->  Registers (PCI or MMIO driver) -->  transport  -->  device
//	ring.Offer(...)    Ring, in a mapping: guest memory  <---------------  queue
//	g.Kick(0)     -->  Host: windows, doorbells       -->  eventfd    -->  goroutine
//	g.WaitUsed(0) <--  Host: MSIs, lines              <--  eventfd    <--
//
// Nothing here is a mock: doorbells and interrupts are eventfds, waited for with
// poll(2), and guest memory is a mapping, as in a machine. Tests wait for
// conditions, with a deadline that only a failure reaches.
package virtiotest
