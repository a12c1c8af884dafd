package container

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/testenv"
)

// leaves are the paths of all fields of a type that have no fields of their own, as JSON names them: "mounts[].options[]",
// "linux.rdma{}.hcaHandles". Those that are for other platforms are left out.
func leaves(t reflect.Type, path string) []string {
	switch t.Kind() {
	case reflect.Pointer:
		return leaves(t.Elem(), path)
	case reflect.Slice:
		return leaves(t.Elem(), path+"[]")
	case reflect.Map:
		return leaves(t.Elem(), path+"{}")
	case reflect.Struct:
	default:
		return []string{path}
	}
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		if on := f.Tag.Get("platform"); on != "" && !strings.Contains(on, "linux") {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "": // embedded
			all = append(all, leaves(f.Type, path)...)
		case path == "":
			all = append(all, leaves(f.Type, name)...)
		default:
			all = append(all, leaves(f.Type, path+"."+name)...)
		}
	}
	return all
}

// field is how a leaf is tried: with two values, in JSON, in a configuration that has what else it needs. One of "" is none.
// The paths may end in *, for all leaves that begin so and have no entry that fits better.
type field struct {
	one, other string
	with       string // JSON that is laid over the configuration first
	elsewhere  string // why it is not in the plan
}

const (
	oneMount  = `{"mounts":[{"destination":"/m","type":"bind","source":"/usr","options":["bind"]}]}`
	idMount   = `{"mounts":[{"destination":"/m","type":"bind","source":"/usr","options":["bind"],"uidMappings":[{"containerID":0,"hostID":5,"size":9}],"gidMappings":[{"containerID":0,"hostID":5,"size":9}]}]}`
	userNS    = `{"linux":{"namespaces":[{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":5,"size":9}],"gidMappings":[{"containerID":0,"hostID":5,"size":9}]}}`
	rlimit    = `{"process":{"rlimits":[{"type":"RLIMIT_CORE","hard":9,"soft":3}]}}`
	deadline  = `{"process":{"scheduler":{"policy":"SCHED_DEADLINE","runtime":1,"deadline":2,"period":3}}}`
	terminal  = `{"process":{"terminal":true,"consoleSize":{"height":1,"width":1}}}`
	device    = `{"linux":{"devices":[{"path":"/dev/x","type":"c","major":1,"minor":1}]}}`
	rule      = `{"linux":{"resources":{"devices":[{"allow":true,"type":"c","major":1,"minor":1,"access":"r"}]}}}`
	weights   = `{"linux":{"resources":{"blockIO":{"weightDevice":[{"major":8,"minor":1,"weight":100}]}}}}`
	syscalls  = `{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["getpid"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"}]}]}}}`
	notify    = `{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/l","syscalls":[{"names":["getpid"],"action":"SCMP_ACT_NOTIFY"}]}}}`
	bindNodes = `{"linux":{"memoryPolicy":{"mode":"MPOL_BIND","nodes":"0"}}}`
	timeNS    = `{"linux":{"namespaces":[{"type":"time"}],"timeOffsets":{"x":{}}}}`
	class     = `{"linux":{"intelRdt":{"closID":"gold"}}}`
	hook      = `{"hooks":{"%s":[{"path":"/h","args":["h"],"env":["A=1"],"timeout":1}]}}`
)

var fields = map[string]field{
	"ociVersion":                      {one: `"1.0.2"`, other: `"2.0.0"`},
	"process.terminal":                {one: `false`, other: `true`},
	"process.consoleSize.*":           {one: `24`, other: `25`, with: terminal},
	"process.user.*":                  {one: `1`, other: `2`},
	"process.args[]":                  {one: `"/a"`, other: `"/b"`},
	"process.env[]":                   {one: `"PATH=/a"`, other: `"PATH=/b"`},
	"process.cwd":                     {one: `"/a"`, other: `"/b"`},
	"process.capabilities.*":          {one: `"CAP_KILL"`, other: `"CAP_CHOWN"`},
	"process.rlimits[].type":          {one: `"RLIMIT_CORE"`, other: `"RLIMIT_NICE"`, with: rlimit},
	"process.rlimits[].*":             {one: `7`, other: `8`, with: rlimit},
	"process.noNewPrivileges":         {one: `false`, other: `true`},
	"process.apparmorProfile":         {other: `"profile"`},
	"process.oomScoreAdj":             {one: `1`, other: `2`},
	"process.scheduler.policy":        {one: `"SCHED_BATCH"`, other: `"SCHED_IDLE"`},
	"process.scheduler.flags[]":       {one: `"SCHED_FLAG_RECLAIM"`, other: `"SCHED_FLAG_DL_OVERRUN"`, with: deadline},
	"process.scheduler.*":             {one: `5`, other: `6`, with: deadline},
	"process.selinuxLabel":            {other: `"label"`},
	"process.ioPriority.class":        {one: `"IOPRIO_CLASS_BE"`, other: `"IOPRIO_CLASS_IDLE"`},
	"process.ioPriority.priority":     {one: `1`, other: `2`, with: `{"process":{"ioPriority":{"class":"IOPRIO_CLASS_BE"}}}`},
	"process.execCPUAffinity.*":       {one: `"0"`, other: `"1"`, elsewhere: "it is of processes started later: TestExecCPUAffinity"},
	"root.path":                       {one: `"/a"`, other: `"/b"`},
	"root.readonly":                   {one: `false`, other: `true`},
	"hostname":                        {one: `"a"`, other: `"b"`},
	"domainname":                      {one: `"a"`, other: `"b"`},
	"mounts[].destination":            {one: `"/a"`, other: `"/b"`, with: oneMount},
	"mounts[].type":                   {one: `"tmpfs"`, other: `"sysfs"`, with: `{"mounts":[{"destination":"/m"}]}`},
	"mounts[].source":                 {one: `"/a"`, other: `"/b"`, with: oneMount},
	"mounts[].options[]":              {one: `"bind"`, other: `"rbind"`, with: oneMount},
	"mounts[].uidMappings[].*":        {one: `6`, other: `7`, with: idMount},
	"mounts[].gidMappings[].*":        {one: `6`, other: `7`, with: idMount},
	"hooks.prestart[].*":              {one: `"/a=1"`, other: `"/b=1"`, with: fmt.Sprintf(hook, "prestart")},
	"hooks.prestart[].timeout":        {one: `1`, other: `0`, with: fmt.Sprintf(hook, "prestart")},
	"hooks.createRuntime[].*":         {one: `"/a=1"`, other: `"/b=1"`, with: fmt.Sprintf(hook, "createRuntime")},
	"hooks.createRuntime[].timeout":   {one: `1`, other: `0`, with: fmt.Sprintf(hook, "createRuntime")},
	"hooks.createContainer[].*":       {one: `"/a=1"`, other: `"/b=1"`, with: fmt.Sprintf(hook, "createContainer")},
	"hooks.createContainer[].timeout": {one: `1`, other: `0`, with: fmt.Sprintf(hook, "createContainer")},
	"hooks.startContainer[].*":        {one: `"/a=1"`, other: `"/b=1"`, with: fmt.Sprintf(hook, "startContainer"), elsewhere: "start runs them: TestHooks"},
	"hooks.startContainer[].timeout":  {one: `1`, other: `2`, with: fmt.Sprintf(hook, "startContainer"), elsewhere: "start runs them"},
	"hooks.poststart[].*":             {one: `"/a=1"`, other: `"/b=1"`, with: fmt.Sprintf(hook, "poststart"), elsewhere: "start runs them: TestHooks"},
	"hooks.poststart[].timeout":       {one: `1`, other: `2`, with: fmt.Sprintf(hook, "poststart"), elsewhere: "start runs them"},
	"hooks.poststop[].*":              {one: `"/a=1"`, other: `"/b=1"`, with: fmt.Sprintf(hook, "poststop"), elsewhere: "delete runs them: TestHooks"},
	"hooks.poststop[].timeout":        {one: `1`, other: `2`, with: fmt.Sprintf(hook, "poststop"), elsewhere: "delete runs them"},
	"annotations{}":                   {one: `"a"`, other: `"b"`, elsewhere: "they are in the state: TestLifeCycle of tandem-oci"},
	"linux.uidMappings[].*":           {one: `6`, other: `7`, with: userNS},
	"linux.gidMappings[].*":           {one: `6`, other: `7`, with: userNS},
	"linux.sysctl{}":                  {one: `"a"`, other: `"b"`},

	"linux.resources.devices[].allow":                     {one: `false`, other: `true`, with: rule},
	"linux.resources.devices[].type":                      {one: `"b"`, other: `"c"`, with: rule},
	"linux.resources.devices[].access":                    {one: `"r"`, other: `"w"`, with: rule},
	"linux.resources.devices[].*":                         {one: `6`, other: `7`, with: rule},
	"linux.resources.memory.disableOOMKiller":             {one: `false`, other: `true`},
	"linux.resources.memory.useHierarchy":                 {one: `false`, other: `true`},
	"linux.resources.memory.checkBeforeUpdate":            {one: `false`, other: `true`, elsewhere: "it is of update: TestUpdateBelowUsage of cgroup"},
	"linux.resources.memory.swap":                         {one: `9000000`, other: `9100000`, with: `{"linux":{"resources":{"memory":{"limit":8000000}}}}`},
	"linux.resources.memory.swappiness":                   {one: `50`, other: `60`},
	"linux.resources.memory.kernel":                       {other: `7000000`},
	"linux.resources.memory.*":                            {one: `7000000`, other: `8000000`},
	"linux.resources.cpu.cpus":                            {one: `"0"`, other: `"1"`},
	"linux.resources.cpu.mems":                            {one: `"0"`, other: `"1"`},
	"linux.resources.cpu.idle":                            {one: `0`, other: `1`},
	"linux.resources.cpu.burst":                           {one: `1000`, other: `2000`, with: `{"linux":{"resources":{"cpu":{"quota":9000}}}}`},
	"linux.resources.cpu.realtimeRuntime":                 {one: `1000`, other: `2000`, with: `{"linux":{"resources":{"cpu":{"realtimePeriod":9000}}}}`},
	"linux.resources.cpu.*":                               {one: `3000`, other: `4000`},
	"linux.resources.pids.limit":                          {one: `3`, other: `4`},
	"linux.resources.blockIO.weight":                      {one: `100`, other: `200`},
	"linux.resources.blockIO.leafWeight":                  {other: `200`},
	"linux.resources.blockIO.weightDevice[].leafWeight":   {other: `200`, with: weights},
	"linux.resources.blockIO.weightDevice[].*":            {one: `101`, other: `102`, with: weights},
	"linux.resources.blockIO.throttleReadBpsDevice[].*":   {one: `101`, other: `102`},
	"linux.resources.blockIO.throttleWriteBpsDevice[].*":  {one: `101`, other: `102`},
	"linux.resources.blockIO.throttleReadIOPSDevice[].*":  {one: `101`, other: `102`},
	"linux.resources.blockIO.throttleWriteIOPSDevice[].*": {one: `101`, other: `102`},
	"linux.resources.hugepageLimits[].pageSize":           {one: `"2MB"`, other: `"1GB"`},
	"linux.resources.hugepageLimits[].limit":              {one: `1`, other: `2`, with: `{"linux":{"resources":{"hugepageLimits":[{"pageSize":"2MB"}]}}}`},
	"linux.resources.network.classID":                     {one: `1`, other: `2`},
	"linux.resources.network.priorities[].name":           {one: `"a"`, other: `"b"`},
	"linux.resources.network.priorities[].priority":       {one: `1`, other: `2`, with: `{"linux":{"resources":{"network":{"priorities":[{"name":"a"}]}}}}`},
	"linux.resources.rdma{}.*":                            {one: `1`, other: `2`},
	"linux.resources.unified{}":                           {one: `"1"`, other: `"2"`},
	"linux.cgroupsPath":                                   {one: `"/a"`, other: `"/b"`},
	"linux.namespaces[].type":                             {one: `"mount"`, other: `"user"`},
	"linux.namespaces[].path":                             {one: `"/a"`, other: `"/b"`},
	"linux.devices[].path":                                {one: `"/dev/a"`, other: `"/dev/b"`, with: device},
	"linux.devices[].type":                                {one: `"b"`, other: `"c"`, with: device},
	"linux.devices[].*":                                   {one: `6`, other: `7`, with: device},
	"linux.netDevices{}.name":                             {one: `"a"`, other: `"b"`},
	"linux.seccomp.defaultAction":                         {one: `"SCMP_ACT_ERRNO"`, other: `"SCMP_ACT_KILL"`, with: syscalls},
	"linux.seccomp.defaultErrnoRet":                       {one: `1`, other: `2`, with: `{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}}}`},
	"linux.seccomp.architectures[]":                       {one: `"SCMP_ARCH_X86_64"`, other: `"SCMP_ARCH_X86"`, with: syscalls},
	"linux.seccomp.flags[]":                               {one: `"SECCOMP_FILTER_FLAG_LOG"`, other: `"SECCOMP_FILTER_FLAG_SPEC_ALLOW"`, with: syscalls},
	"linux.seccomp.listenerPath":                          {one: `"/a"`, other: `"/b"`, with: notify},
	"linux.seccomp.listenerMetadata":                      {one: `"a"`, other: `"b"`, with: notify},
	"linux.seccomp.syscalls[].names[]":                    {one: `"getpid"`, other: `"getuid"`, with: syscalls},
	"linux.seccomp.syscalls[].action":                     {one: `"SCMP_ACT_ERRNO"`, other: `"SCMP_ACT_TRAP"`, with: syscalls},
	"linux.seccomp.syscalls[].args[].op":                  {one: `"SCMP_CMP_EQ"`, other: `"SCMP_CMP_NE"`, with: syscalls},
	"linux.seccomp.syscalls[].args[].value":               {one: `3`, other: `1`, with: syscalls},
	"linux.seccomp.syscalls[].*":                          {one: `1`, other: `0`, with: syscalls},
	"linux.rootfsPropagation":                             {one: `"slave"`, other: `"shared"`},
	"linux.maskedPaths[]":                                 {one: `"/a"`, other: `"/b"`},
	"linux.readonlyPaths[]":                               {one: `"/a"`, other: `"/b"`},
	"linux.mountLabel":                                    {other: `"label"`},
	"linux.intelRdt.closID":                               {one: `"gold"`, other: `"tin"`},
	"linux.intelRdt.schemata[]":                           {one: `"L2:0=1"`, other: `"L2:0=2"`, with: class},
	"linux.intelRdt.l3CacheSchema":                        {one: `"L3:0=1"`, other: `"L3:0=2"`, with: class},
	"linux.intelRdt.memBwSchema":                          {one: `"MB:0=10"`, other: `"MB:0=20"`, with: class},
	"linux.intelRdt.enableMonitoring":                     {one: `false`, other: `true`, with: class},
	"linux.memoryPolicy.mode":                             {one: `"MPOL_BIND"`, other: `"MPOL_INTERLEAVE"`, with: bindNodes},
	"linux.memoryPolicy.nodes":                            {one: `"0"`, other: `"1"`, with: bindNodes},
	"linux.memoryPolicy.flags[]":                          {one: `"MPOL_F_STATIC_NODES"`, other: `"MPOL_F_RELATIVE_NODES"`, with: bindNodes},
	"linux.personality.domain":                            {one: `"LINUX"`, other: `"LINUX32"`},
	"linux.personality.flags[]":                           {other: `"X"`, with: `{"linux":{"personality":{"domain":"LINUX"}}}`},
	"linux.timeOffsets{}.*":                               {one: `1`, other: `2`, with: timeNS},
}

// No field of a configuration is passed over in silence: each changes the plan, or a warning or an error names it.
func TestEveryFieldHasAnEffect(t *testing.T) {
	testenv.Need(t, testenv.Root) // what a plan is of who is not root has other limits
	e := &Engine{Root: "/nosuch", resctrl: "/nosuch"}
	known := make(map[string]bool)
	for _, path := range leaves(reflect.TypeFor[specs.Spec](), "") {
		pattern, f := lookUp(path)
		if pattern == "" {
			t.Errorf("%s: a field of the specification that nobody has thought of", path)
			continue
		}
		known[pattern] = true
		one, other := outcome(t, e, path, f, f.one), outcome(t, e, path, f, f.other)
		failed, refused := strings.CutPrefix(other, "error: ")
		switch {
		case f.elsewhere != "" && one != other:
			t.Errorf("%s: it is in the plan after all", path)
		case refused && !names(failed, path, f.other):
			t.Errorf("%s: %s is refused, and the error does not say what: %s", path, f.other, failed)
		case f.elsewhere == "" && one == other && !refused:
			t.Errorf("%s: %s and %s are the same: %.300s", path, f.one, f.other, one)
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(fields)) {
		if !known[pattern] {
			t.Errorf("%s is no field of the specification's", pattern)
		}
	}
}

// names tells whether an error is about a field: it has the field's own name, or that of what the field is in and this host
// has nothing of.
func names(text, path, value string) bool {
	own := strings.Trim(path[strings.LastIndex(path, ".")+1:], "[]{}")
	within := strings.TrimRight(path[:strings.IndexAny(path+"[", "[{")], "[{")
	return strings.Contains(text, own) || strings.Contains(text, strings.Trim(value, `"`)) || strings.Contains(text, within)
}

func lookUp(path string) (string, field) {
	if f, ok := fields[path]; ok {
		return path, f
	}
	for prefix := path; prefix != ""; prefix = prefix[:strings.LastIndex(prefix, ".")+1] {
		if f, ok := fields[prefix+"*"]; ok {
			return prefix + "*", f
		}
		prefix = strings.TrimSuffix(prefix, ".")
	}
	return "", field{}
}

// mapKeys are the keys that a value is tried with, in maps whose keys mean something.
var mapKeys = map[string]string{"linux.sysctl": "net.ipv4.ip_forward", "linux.resources.unified": "memory.high", "linux.timeOffsets": "monotonic"}

// outcome is what comes of a configuration: all that is in the plan, and the warnings; or the error.
func outcome(t *testing.T, e *Engine, path string, f field, value string) string {
	t.Helper()
	var config any
	text, err := json.Marshal(testConfig("/r", "true"))
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		t.Fatal(err)
	}
	var with any
	if f.with != "" {
		if err := json.Unmarshal([]byte(strings.ReplaceAll(f.with, `"x":{}`, `"monotonic":{}`)), &with); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		config = overlay(config, with)
	}
	if value != "" {
		config = overlay(config, nested(t, path, value))
	}
	text, err = json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := ParseConfig(text)
	if err != nil {
		t.Fatalf("%s: %s: %v", path, text, err)
	}
	var warnings []string
	s := &Spec{ID: "box", Bundle: "/b", Config: spec, Warn: func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf(format, args...))
	}}
	a, err := e.assemble(s, false, true)
	if err != nil {
		return "error: " + err.Error()
	}
	made, err := json.Marshal(a.plan)
	if err != nil {
		t.Fatal(err)
	}
	return serials.ReplaceAllString(fmt.Sprintf("%s\n%q\n%+v", made, warnings, a.process.filter), "")
}

// serials are what differs between two plans of the same: the name of the folder in which the container is made.
var serials = regexp.MustCompile(`~\d+~\d+~`)

// nested is a document with one value, at the path.
func nested(t *testing.T, path, value string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	parts := strings.Split(path, ".")
	for i, part := range slices.Backward(parts) {
		name, isMap := strings.CutSuffix(part, "{}")
		if isMap {
			key, ok := mapKeys[strings.TrimSuffix(strings.Join(parts[:i+1], "."), "{}")]
			if !ok {
				key = "x"
			}
			v = map[string]any{key: v}
		}
		name, isList := strings.CutSuffix(name, "[]")
		if isList {
			v = []any{v}
		}
		v = map[string]any{name: v}
	}
	return v
}

// overlay lays one document over another: objects are joined, and so are lists, element by element.
func overlay(under, over any) any {
	switch o := over.(type) {
	case map[string]any:
		u, ok := under.(map[string]any)
		if !ok {
			return over
		}
		for key, value := range o {
			u[key] = overlay(u[key], value)
		}
		return u
	case []any:
		u, ok := under.([]any)
		if !ok {
			return over
		}
		for i, value := range o {
			if i < len(u) {
				u[i] = overlay(u[i], value)
			} else {
				u = append(u, value)
			}
		}
		return u
	}
	return over
}
