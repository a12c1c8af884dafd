package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"tandem/virtio/balloon"
	"tandem/virtio/blk"
	"tandem/virtio/limit"
	virtionet "tandem/virtio/net"
)

// Machine is the VM that an API is about.
type Machine interface {
	Pause(context.Context) error
	Resume() error
	Stop()
	State() string
}

// NIC is a network card of the VM.
type NIC struct {
	Name   string
	Path   string // the data path
	Source string // where its cable ends
	MAC    string
	Pairs  int
	Device *virtionet.Device
}

// Disk is a disk of the VM.
type Disk struct {
	Name   string
	Source string
	Device *blk.Disk
}

// NICInfo is what the API tells of a network card. The counters are nil if another serves the queues (vhost, vhost-user):
// nobody counts there, the tap does (ip -s link).
type NICInfo struct {
	Name           string            `json:"name"`
	Path           string            `json:"path"`
	Source         string            `json:"source"`
	MAC            string            `json:"mac"`
	Transmit       []virtionet.Stats `json:"transmit,omitempty"` // by queue pair
	Receive        []virtionet.Stats `json:"receive,omitempty"`
	TransmitLimits limit.Limits      `json:"transmitLimits"`
	ReceiveLimits  limit.Limits      `json:"receiveLimits"`
}

// NICLimits are new limits for a network card; what is nil stays.
type NICLimits struct {
	Transmit *limit.Limits `json:"transmit,omitempty"`
	Receive  *limit.Limits `json:"receive,omitempty"`
}

// DiskInfo is what the API tells of a disk.
type DiskInfo struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	blk.Stats
	Limits limit.Limits `json:"limits"`
}

// served tells whether this process moves the card's frames.
func (n *NIC) served() bool { return n.Path == "exit" || n.Path == "eventfd" }

func (n *NIC) info() NICInfo {
	info := NICInfo{
		Name: n.Name, Path: n.Path, Source: n.Source, MAC: n.MAC,
		TransmitLimits: n.Device.Transmit.Limits(), ReceiveLimits: n.Device.Receive.Limits(),
	}
	if !n.served() {
		return info
	}
	for pair := range n.Pairs {
		tx, rx := n.Device.Stats(pair)
		info.Transmit, info.Receive = append(info.Transmit, tx), append(info.Receive, rx)
	}
	return info
}

func (n *NIC) set(l NICLimits) error {
	if !n.served() {
		return fmt.Errorf("%s: its queues are served elsewhere (%s), where tandem has no limit: see tc-tbf(8) for the link", n.Name, n.Path)
	}
	// Both are checked before either is set.
	for _, x := range []*limit.Limits{l.Transmit, l.Receive} {
		if x != nil {
			if err := x.Check(); err != nil {
				return err
			}
		}
	}
	if l.Transmit != nil {
		if err := n.Device.Transmit.Set(*l.Transmit); err != nil {
			return err
		}
	}
	if l.Receive != nil {
		return n.Device.Receive.Set(*l.Receive)
	}
	return nil
}

// Handler serves the API of a VM. All of it is JSON.
//
//	GET  /state                      {"state": "running"}
//	PUT  /pause, /resume, /stop
//	GET  /nics                       [NICInfo]
//	PUT  /nics/{name}/limits         NICLimits
//	GET  /disks                      [DiskInfo]
//	PUT  /disks/{name}/limits        limit.Limits
//	GET  /balloon                    BalloonInfo
//	PUT  /balloon                    BalloonTarget
//
// The balloon may be nil.
func Handler(m Machine, nics []NIC, disks []Disk, b *balloon.Device) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // who asked may be gone
	}
	done := struct{}{}
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, State{m.State()}, nil)
	})
	mux.HandleFunc("PUT /pause", func(w http.ResponseWriter, r *http.Request) { answer(w, done, m.Pause(r.Context())) })
	mux.HandleFunc("PUT /resume", func(w http.ResponseWriter, _ *http.Request) { answer(w, done, m.Resume()) })
	mux.HandleFunc("PUT /stop", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, done, nil)
		m.Stop()
	})
	mux.HandleFunc("GET /nics", func(w http.ResponseWriter, _ *http.Request) {
		list := []NICInfo{}
		for i := range nics {
			list = append(list, nics[i].info())
		}
		answer(w, list, nil)
	})
	mux.HandleFunc("PUT /nics/{name}/limits", func(w http.ResponseWriter, r *http.Request) {
		var l NICLimits
		err := decode(w, r, &l)
		for i := range nics {
			if nics[i].Name == r.PathValue("name") {
				if err == nil {
					err = nics[i].set(l)
				}
				answer(w, done, err)
				return
			}
		}
		http.Error(w, fmt.Sprintf("no network card %q", r.PathValue("name")), http.StatusNotFound)
	})
	mux.HandleFunc("GET /disks", func(w http.ResponseWriter, _ *http.Request) {
		list := []DiskInfo{}
		for _, d := range disks {
			list = append(list, DiskInfo{d.Name, d.Source, d.Device.Stats(), d.Device.Limit.Limits()})
		}
		answer(w, list, nil)
	})
	mux.HandleFunc("PUT /disks/{name}/limits", func(w http.ResponseWriter, r *http.Request) {
		var l limit.Limits
		err := decode(w, r, &l)
		for _, d := range disks {
			if d.Name == r.PathValue("name") {
				if err == nil {
					err = d.Device.Limit.Set(l)
				}
				answer(w, done, err)
				return
			}
		}
		http.Error(w, fmt.Sprintf("no disk %q", r.PathValue("name")), http.StatusNotFound)
	})
	mux.HandleFunc("GET /balloon", func(w http.ResponseWriter, r *http.Request) {
		if b == nil {
			http.Error(w, errNoBalloon, http.StatusNotFound)
			return
		}
		answer(w, balloonInfo(r.Context(), b), nil)
	})
	mux.HandleFunc("PUT /balloon", func(w http.ResponseWriter, r *http.Request) {
		var t BalloonTarget
		err := decode(w, r, &t)
		if b == nil {
			http.Error(w, errNoBalloon, http.StatusNotFound)
			return
		}
		if err == nil {
			err = b.SetTarget(t.Target)
		}
		answer(w, done, err)
	})
	return mux
}

// State is what GET /state answers.
type State struct {
	State string `json:"state"`
}

// decode reads a request's body, which is one object and has no fields that mean nothing here.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
