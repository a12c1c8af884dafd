// Package console is the virtio console device (virtio 1.2, section 5.3): a terminal of the guest, and any number of
// plain byte streams between programs in the guest and on the host, called ports.
//
// A serial port of a PC moves one byte an exit from the guest. Here a buffer of any size moves with one kick, or with
// none when the device is at work already. What is left of the serial port is its simplicity: a stream needs no
// network, no address, and no daemon on either side.
//
//	guest                    virtqueues                 device                  host
//
//	/dev/hvc0 or        0 receiveq(0)    <-----------  Port 0  <-- 32 KiB ---- Connect(in, out):
//	/dev/vport0p0       1 transmitq(0)   ----------->          --- 64 KiB -->  a terminal, a file,
//	                    2 control receiveq  <-------+                          a Unix socket
//	virtio_console.ko   3 control transmitq  --> control
//	/dev/vport0p1       4 receiveq(1)    <-----------  Port 1  <-------------- ...
//	                    5 transmitq(1)   ----------->          -------------->
//
// # Two devices in one
//
// Without VIRTIO_CONSOLE_F_MULTIPORT there are two queues and one port, which is a terminal: Linux calls it hvc0. The
// window's size stands in the configuration space, and a change of it is a configuration interrupt. [Spec].Single is
// that device.
//
// With it, each port has a name and two queues, and a pair of control queues carries messages of eight bytes:
//
//	driver                              device
//	DEVICE_READY               ---->
//	                           <----    PORT_ADD 0, PORT_ADD 1, ...
//	PORT_READY 1               ---->
//	                           <----    CONSOLE_PORT 1 (a terminal), PORT_NAME 1 "name"
//	                           <----    PORT_OPEN 1: somebody is connected on the host
//	PORT_OPEN 1                ---->    a program has opened /dev/vport0p1
//
// A guest with udev finds a port as /dev/virtio-ports/NAME, any other in /sys/class/virtio-ports/*/name.
//
// # Who waits for whom
//
// No side can make the other one's memory grow. Towards the guest, the device reads no more of the host's stream than
// one buffer ahead, and nothing at all until a program in the guest has opened the port: Linux throws away what
// comes earlier. Towards the host, what the stream's writer has not taken stays in two buffers, and then in the
// guest: the chain is given back when its last byte has found room.
//
// A terminal is different. Linux's hvc driver spins, with interrupts off, until the device has taken the bytes, so a
// terminal that was stopped with Ctrl-s would stop a vCPU. After [Patience] the output of a console port is dropped,
// until its writer goes on.
//
// Control messages that wait for a buffer are not queued either. Each port knows what it has not told the driver yet
// (see pending), so that a driver that asks for everything a million times, and takes nothing, costs a few bits.
//
// # Traps
//
//   - PORT_OPEN travels in another queue than the data: a guest that writes and closes may be seen to close first. So
//     what comes from a closed port counts all the same.
//   - Some versions of Linux read the two fields of RESIZE the other way round from the specification (rows first).
//     There is no telling from here. The configuration space has no such doubt, which is why a terminal for people is
//     a device of its own (Single).
//   - A socket cannot say "I have sent all, but go on": the end of the host's stream closes the port once the guest
//     has got all of it. Where that is wrong, as for standard input, the connection is kept.
package console
