// Package agentpb is the agent's protocol, generated from agent.proto.
package agentpb

//go:generate protoc --proto_path=. --go_out=. --go_opt=paths=source_relative --go-ttrpc_out=. --go-ttrpc_opt=paths=source_relative agent.proto
