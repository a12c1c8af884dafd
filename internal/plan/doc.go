// Package plan turns an intention into data: an ordered list of the requests
// that will be put to the kernel, each with its reason, that can be printed
// without doing any of them, run, and undone.
//
// A program that sets up something large (a virtual machine, a container)
// makes dozens of requests in an order that matters, and each of them can
// fail. Written as a plain function, the order and the reasons are buried in
// code, and the clean-up after a failure in the middle is written a second
// time, by hand. Written as a [Plan], both follow from one list:
//
//	         ┌─ step 1: op, object, arguments, why ── Do ── Undo
//	Plan ────┼─ step 2 ...
//	         └─ step n ...
//	   │
//	   ├─ WriteText, MarshalJSON: what would be asked, and why (no root, no KVM)
//	   └─ Run: Do 1, Do 2, ... ; at an error in step k: Undo k-1, ..., Undo 1
//	         └─ Done.Undo: the same from the end, when the box's life is over
//
// A plan is made from a specification alone. What a step's function needs
// from an earlier step (a descriptor, say) it finds in a variable that both
// close over; the printed form never depends on it.
package plan
