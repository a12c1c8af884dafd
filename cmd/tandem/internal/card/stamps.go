package card

import (
	"net"

	"tandem/vhost/kernel"
	"tandem/vhost/kernel/stamps"
)

// traceKernel traces what the kernel does with the card's queues. What cannot be seen is said in the trace, and the
// card works all the same.
func (l *Live) traceKernel(server *kernel.Net) {
	sink := l.opt.Trace.Stamps(l.Name)
	if sink == nil {
		return
	}
	spec := stamps.Spec{
		Queue:  server.QueueAt,
		Sink:   func(s stamps.Stamp) { sink(s.Stamp, s.Ring != 0) },
		Report: func(err error) { l.opt.Report(l.Name, err) },
	}
	if link, err := net.InterfaceByName(l.link); err == nil {
		spec.Ifindex = link.Index
	}
	var err error
	if l.stamps, err = stamps.Open(spec); err != nil {
		l.opt.Trace.Unseen(l.Name, "what vhost-net does", err)
		return
	}
	for _, hop := range l.stamps.Missing() {
		l.opt.Trace.Unseen(l.Name, hop.Name, hop.Reason)
	}
}
