package container

import (
	"encoding/json"
	"time"

	"tandem/internal/fastjson"
	"tandem/internal/process"
)

// A state is written and read by hand, as a configuration is read, see ParseConfig. What is written is what encoding/json
// would write.

func (s *state) encode() ([]byte, error) {
	var w fastjson.Writer
	w.Begin()
	w.String("id", s.ID)
	w.String("bundle", s.Bundle)
	w.String("rootfs", s.Rootfs)
	w.String("created", s.Created.Format(time.RFC3339Nano))
	w.Int("owner", int64(s.Owner))
	writeProcess(&w, "maker", s.Maker)
	writeProcess(&w, "init", s.Init)
	if len(s.Cgroup) > 0 {
		w.StringMap("cgroup", s.Cgroup)
	}
	if s.RDT != nil {
		w.Value("intelRdt", s.RDT)
	}
	w.String("ociVersion", s.Version)
	if len(s.Annotations) > 0 {
		w.StringMap("annotations", s.Annotations)
	}
	if len(s.Poststart) > 0 {
		w.Value("poststart", s.Poststart)
	}
	if len(s.Poststop) > 0 {
		w.Value("poststop", s.Poststop)
	}
	if len(s.StartHooks) > 0 {
		w.Value("startContainer", s.StartHooks)
	}
	w.String("command", s.Command)
	if s.HostMounts {
		w.Bool("hostMounts", true)
	}
	if s.Beneath != 0 {
		w.Uint("beneath", s.Beneath)
	}
	if s.Notify {
		w.Bool("notify", true)
	}
	if s.OwnPIDs {
		w.Bool("ownPIDs", true)
	}
	if s.OwnKeys {
		w.Bool("ownKeys", true)
	}
	w.Int("configSize", int64(s.ConfigSize))
	w.End()
	return w.Text()
}

func (c change) encode() ([]byte, error) {
	var w fastjson.Writer
	w.Begin()
	writeProcess(&w, "init", c.Init)
	if c.Beneath != 0 {
		w.Uint("beneath", c.Beneath)
	}
	w.End()
	return w.Text()
}

func writeProcess(w *fastjson.Writer, name string, id process.ID) {
	w.Name(name)
	w.Begin()
	w.Int("pid", int64(id.PID))
	w.Uint("start", id.Start)
	w.End()
}

// decode adds what a line says.
func (s *state) decode(line []byte) error {
	r := fastjson.New(line)
	changed := *s
	fastjson.Struct(r, &changed, stateField)
	if r.Done() {
		*s = changed
		return nil
	}
	return json.Unmarshal(line, s)
}

func stateField(r *fastjson.Reader, key string, s *state) {
	switch key {
	case "id":
		s.ID = r.String()
	case "bundle":
		s.Bundle = r.String()
	case "rootfs":
		s.Rootfs = r.String()
	case "created":
		if s.Created.UnmarshalText([]byte(r.Plain())) != nil {
			r.GiveUp()
		}
	case "owner":
		s.Owner = fastjson.Number[int](r)
	case "maker":
		fastjson.Struct(r, &s.Maker, processIDField)
	case "init":
		fastjson.Struct(r, &s.Init, processIDField)
	case "cgroup":
		r.StringMap(&s.Cgroup)
	case "ociVersion":
		s.Version = r.String()
	case "annotations":
		r.StringMap(&s.Annotations)
	case "poststart":
		fastjson.List(r, &s.Poststart, hookField)
	case "poststop":
		fastjson.List(r, &s.Poststop, hookField)
	case "startContainer":
		fastjson.List(r, &s.StartHooks, hookField)
	case "command":
		s.Command = r.String()
	case "hostMounts":
		s.HostMounts = r.Bool()
	case "beneath":
		s.Beneath = fastjson.Number[uint64](r)
	case "notify":
		s.Notify = r.Bool()
	case "ownPIDs":
		s.OwnPIDs = r.Bool()
	case "ownKeys":
		s.OwnKeys = r.Bool()
	case "configSize":
		s.ConfigSize = fastjson.Number[int](r)
	default:
		r.GiveUp()
	}
}

func processIDField(r *fastjson.Reader, key string, id *process.ID) {
	switch key {
	case "pid":
		id.PID = fastjson.Number[int](r)
	case "start":
		id.Start = fastjson.Number[uint64](r)
	default:
		r.GiveUp()
	}
}
