package user

import "fmt"

// Request is what a front-end asks of a back-end: its number on the wire.
type Request uint32

// The front-end's requests. vhost-user protocol, "Front-end message types".
const (
	GetFeatures         Request = 1
	SetFeatures         Request = 2
	SetOwner            Request = 3
	ResetOwner          Request = 4
	SetMemTable         Request = 5
	SetLogBase          Request = 6
	SetLogFD            Request = 7
	SetVringNum         Request = 8
	SetVringAddr        Request = 9
	SetVringBase        Request = 10
	GetVringBase        Request = 11
	SetVringKick        Request = 12
	SetVringCall        Request = 13
	SetVringErr         Request = 14
	GetProtocolFeatures Request = 15
	SetProtocolFeatures Request = 16
	GetQueueNum         Request = 17
	SetVringEnable      Request = 18
	SendRARP            Request = 19
	NetSetMTU           Request = 20
	SetBackendReqFD     Request = 21
	IOTLBMsg            Request = 22
	SetVringEndian      Request = 23
	GetConfig           Request = 24
	SetConfig           Request = 25
	CreateCryptoSession Request = 26
	CloseCryptoSession  Request = 27
	PostcopyAdvise      Request = 28
	PostcopyListen      Request = 29
	PostcopyEnd         Request = 30
	GetInflightFD       Request = 31
	SetInflightFD       Request = 32
	GPUSetSocket        Request = 33
	ResetDevice         Request = 34
	VringKick           Request = 35
	GetMaxMemSlots      Request = 36
	AddMemReg           Request = 37
	RemMemReg           Request = 38
	SetStatus           Request = 39
	GetStatus           Request = 40
	GetSharedObject     Request = 41
	SetDeviceStateFD    Request = 42
	CheckDeviceState    Request = 43
)

func (r Request) String() string {
	if f, ok := requests[r]; ok {
		return f.name
	}
	return fmt.Sprintf("request %d", uint32(r))
}

// BackendRequest is what a back-end asks of a front-end on the channel that it was
// given by SetBackendReqFD.
type BackendRequest uint32

// The back-end's requests. vhost-user protocol, "Back-end message types".
const (
	BackendIOTLBMsg           BackendRequest = 1
	BackendConfigChange       BackendRequest = 2
	BackendVringHostNotifier  BackendRequest = 3
	BackendVringCall          BackendRequest = 4
	BackendVringErr           BackendRequest = 5
	BackendSharedObjectAdd    BackendRequest = 6
	BackendSharedObjectRemove BackendRequest = 7
	BackendSharedObjectLookup BackendRequest = 8
)

func (r BackendRequest) String() string {
	if f, ok := backendRequests[r]; ok {
		return f.name
	}
	return fmt.Sprintf("back-end request %d", uint32(r))
}

// body is the kind of a payload.
type body uint8

const (
	bodyNone     body = iota
	bodyU64           // U64
	bodyState         // VringState
	bodyAddr          // VringAddr
	bodyFD            // VringFD
	bodyMemory        // MemoryTable
	bodyRegion        // MemoryRegion
	bodyLog           // Log, or U64 without LOG_SHMFD
	bodyIOTLB         // IOTLB
	bodyConfig        // Config
	bodyInflight      // Inflight
	bodyArea          // VringArea
	bodyRaw           // Raw: one that this package does not take apart
)

// count is how many descriptors come with a message.
type count uint8

const (
	none      count = iota
	one             // exactly one
	maybe           // one or none
	perRegion       // as many as the memory table has regions
	perFD           // as the VringFD says
)

// form is what a message looks like.
type form struct {
	name string
	body body
	fds  count

	replies  bool // the reply has a body of its own, whatever REPLY_ACK says
	reply    body
	replyFDs count
}

var requests = map[Request]form{
	GetFeatures:         {name: "GET_FEATURES", replies: true, reply: bodyU64},
	SetFeatures:         {name: "SET_FEATURES", body: bodyU64},
	SetOwner:            {name: "SET_OWNER"},
	ResetOwner:          {name: "RESET_OWNER"},
	SetMemTable:         {name: "SET_MEM_TABLE", body: bodyMemory, fds: perRegion},
	SetLogBase:          {name: "SET_LOG_BASE", body: bodyLog, fds: maybe},
	SetLogFD:            {name: "SET_LOG_FD", fds: one},
	SetVringNum:         {name: "SET_VRING_NUM", body: bodyState},
	SetVringAddr:        {name: "SET_VRING_ADDR", body: bodyAddr},
	SetVringBase:        {name: "SET_VRING_BASE", body: bodyState},
	GetVringBase:        {name: "GET_VRING_BASE", body: bodyState, replies: true, reply: bodyState},
	SetVringKick:        {name: "SET_VRING_KICK", body: bodyFD, fds: perFD},
	SetVringCall:        {name: "SET_VRING_CALL", body: bodyFD, fds: perFD},
	SetVringErr:         {name: "SET_VRING_ERR", body: bodyFD, fds: perFD},
	GetProtocolFeatures: {name: "GET_PROTOCOL_FEATURES", replies: true, reply: bodyU64},
	SetProtocolFeatures: {name: "SET_PROTOCOL_FEATURES", body: bodyU64},
	GetQueueNum:         {name: "GET_QUEUE_NUM", replies: true, reply: bodyU64},
	SetVringEnable:      {name: "SET_VRING_ENABLE", body: bodyState},
	SendRARP:            {name: "SEND_RARP", body: bodyU64},
	NetSetMTU:           {name: "NET_SET_MTU", body: bodyU64},
	SetBackendReqFD:     {name: "SET_BACKEND_REQ_FD", fds: one},
	IOTLBMsg:            {name: "IOTLB_MSG", body: bodyIOTLB, replies: true, reply: bodyU64},
	SetVringEndian:      {name: "SET_VRING_ENDIAN", body: bodyState},
	GetConfig:           {name: "GET_CONFIG", body: bodyConfig, replies: true, reply: bodyConfig},
	SetConfig:           {name: "SET_CONFIG", body: bodyConfig},
	CreateCryptoSession: {name: "CREATE_CRYPTO_SESSION", body: bodyRaw, replies: true, reply: bodyRaw},
	CloseCryptoSession:  {name: "CLOSE_CRYPTO_SESSION", body: bodyU64},
	PostcopyAdvise:      {name: "POSTCOPY_ADVISE", replies: true, reply: bodyNone, replyFDs: one},
	PostcopyListen:      {name: "POSTCOPY_LISTEN"},
	PostcopyEnd:         {name: "POSTCOPY_END", replies: true, reply: bodyU64},
	GetInflightFD:       {name: "GET_INFLIGHT_FD", body: bodyInflight, replies: true, reply: bodyInflight, replyFDs: maybe},
	SetInflightFD:       {name: "SET_INFLIGHT_FD", body: bodyInflight, fds: one},
	GPUSetSocket:        {name: "GPU_SET_SOCKET", fds: one},
	ResetDevice:         {name: "RESET_DEVICE"},
	VringKick:           {name: "VRING_KICK", body: bodyState},
	GetMaxMemSlots:      {name: "GET_MAX_MEM_SLOTS", replies: true, reply: bodyU64},
	AddMemReg:           {name: "ADD_MEM_REG", body: bodyRegion, fds: one},
	RemMemReg:           {name: "REM_MEM_REG", body: bodyRegion, fds: maybe},
	SetStatus:           {name: "SET_STATUS", body: bodyU64},
	GetStatus:           {name: "GET_STATUS", replies: true, reply: bodyU64},
	GetSharedObject:     {name: "GET_SHARED_OBJECT", body: bodyRaw, replies: true, reply: bodyNone, replyFDs: maybe},
	SetDeviceStateFD:    {name: "SET_DEVICE_STATE_FD", body: bodyRaw, fds: one, replies: true, reply: bodyU64, replyFDs: maybe},
	CheckDeviceState:    {name: "CHECK_DEVICE_STATE", replies: true, reply: bodyU64},
}

var backendRequests = map[BackendRequest]form{
	BackendIOTLBMsg:           {name: "BACKEND_IOTLB_MSG", body: bodyIOTLB},
	BackendConfigChange:       {name: "BACKEND_CONFIG_CHANGE_MSG"},
	BackendVringHostNotifier:  {name: "BACKEND_VRING_HOST_NOTIFIER_MSG", body: bodyArea, fds: maybe},
	BackendVringCall:          {name: "BACKEND_VRING_CALL", body: bodyState},
	BackendVringErr:           {name: "BACKEND_VRING_ERR", body: bodyState},
	BackendSharedObjectAdd:    {name: "BACKEND_SHARED_OBJECT_ADD", body: bodyRaw},
	BackendSharedObjectRemove: {name: "BACKEND_SHARED_OBJECT_REMOVE", body: bodyRaw},
	BackendSharedObjectLookup: {name: "BACKEND_SHARED_OBJECT_LOOKUP", body: bodyRaw},
}
