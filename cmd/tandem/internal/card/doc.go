// Package card plugs a VM's network cards in: it reads what `--net` asks for, makes or opens the tap, chooses who serves
// the card's queues, and takes all of it down again.
//
//	--net bridge,datapath=vhost
//	        |
//	      Parse ──> Card ──────── Plug ──────────> Live ──── Device ──> vmm
//	              (what is        network: lease,    |
//	               wanted)        bridge, tap        +────── Link ────> the guest's init: addresses, routes
//	                              vhost, vhost-user  |
//	                                                 +────── Close
//
// A card is on tandem's bridge, as containers are, or on a tap that the user has made; or another process is the card's
// device altogether, over vhost-user.
package card
