package network

import (
	"context"
	"errors"
	"os"

	"tandem/internal/plan"
)

// Setup is a Spec made into steps.
type Setup struct {
	attachment Attachment
}

// Prepare checks a Spec and makes its steps. It reads what there is (routes, leases) and changes nothing; it needs no
// privilege.
func Prepare(spec Spec) (*Setup, error) { return nil, errors.ErrUnsupported }

// Phases are the steps, to be put into a plan. Their Undo takes back what they did, but leaves what other boxes use.
func (s *Setup) Phases() []plan.Phase { return nil }

// Steps are those of all phases in one list.
func (s *Setup) Steps() []plan.Step { return nil }

// Attachment tells what was made, once all steps are done.
func (s *Setup) Attachment() *Attachment { return &s.attachment }

// Attach does the steps, and undoes what it did if it fails.
func Attach(ctx context.Context, spec Spec) (*Attachment, error) { return nil, errors.ErrUnsupported }

// Detach takes down what Attach set up: link, rules, lease, and, with its last box, the bridge. Of the attachment it
// needs ID, Mode, State and Host alone, and all of it may be gone already.
func Detach(ctx context.Context, a *Attachment) error { return errors.ErrUnsupported }

// Store is one state folder, and the host that its bridges are in.
type Store struct {
	State string // DefaultState if empty
	Host  string // the caller's namespace if empty
}

// Leftover is something of a box that is gone.
type Leftover struct {
	Kind   string // lease, link, rules, bridge, table
	Name   string
	Bridge string
	ID     string // the box, if known
	Why    string // how it is known that nobody needs it
}

// Leftovers lists what boxes left behind that ended without a Detach. alive tells whether the box of an ID still is;
// nil asks the kernel alone: a veth goes with its namespace, a tap does not.
func (s Store) Leftovers(ctx context.Context, alive func(id string) bool) ([]Leftover, error) {
	return nil, errors.ErrUnsupported
}

// Collect removes what Leftovers lists, and returns it.
func (s Store) Collect(ctx context.Context, alive func(id string) bool) ([]Leftover, error) {
	return nil, errors.ErrUnsupported
}

// Stats are a link's counters, as the box sees them.
type Stats struct {
	Interface string `json:"interface"`
	RxBytes   uint64 `json:"rxBytes"`
	RxPackets uint64 `json:"rxPackets"`
	RxErrors  uint64 `json:"rxErrors"`
	RxDropped uint64 `json:"rxDropped"`
	TxBytes   uint64 `json:"txBytes"`
	TxPackets uint64 `json:"txPackets"`
	TxErrors  uint64 `json:"txErrors"`
	TxDropped uint64 `json:"txDropped"`
}

// Stats reads the counters of the host's end of an attachment, and gives them from the box's side: what the host's end
// receives, the box sent.
func (a *Attachment) Stats() (Stats, error) { return Stats{}, errors.ErrUnsupported }

// NamespaceStats reads the counters of every link but lo in a network namespace.
func NamespaceStats(path string) ([]Stats, error) { return nil, errors.ErrUnsupported }

// OpenTap opens queues of a tap that Attach made, ready for a poller. The caller closes them.
func OpenTap(host, name string, queues int, tap Tap) ([]*os.File, error) { return nil, errors.ErrUnsupported }
