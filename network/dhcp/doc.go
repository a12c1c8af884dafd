// Package dhcp answers the one machine behind a link that asks for its address by DHCP (RFC 2131, RFC 2132).
//
// A VM with a kernel and an initial RAM disk of tandem's is told its address when it boots. One that boots a
// distribution's own image asks for it, with the only thing that it has: its MAC. The address was leased before the VM
// started (package lease), so there is nothing to manage here, only to tell:
//
//	VM                                       answerer, on the VM's own tap
//
//	DISCOVER: who has an address for me? -->
//	                                     <-- OFFER: 10.77.0.2, from me, 10.77.0.1
//	REQUEST: I take 10.77.0.2 from you   -->
//	                                     <-- ACK: /22, router, name servers, for so long
//
// It listens on a packet socket that is bound to the tap, beside the bridge: it hears this VM and nobody else, whoever
// serves the VM's queues, and takes no port of the host's. Whatever asks for something else than what was leased is told
// so (NAK) if it asks the answerer, and is left alone if it asks another server.
package dhcp
