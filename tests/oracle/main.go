// The oracle of the property tests: Go's own encoding/json and net/http.ServeMux, which
// lk-jwt-service reads requests with. JSON lines in, JSON lines out.
//
//	{"op": "marshal", "strings": [...]}         -> {"out": base64 of json.Marshal}
//	{"op": "read", "path": "/sfu/get", "body": base64} -> {"ok": bool, "fields": {...}}
//	{"op": "route", "target": base64}           -> {"out": the pattern that ServeMux serves, or ""}
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
)

type openID struct {
	AccessToken      string `json:"access_token"`
	TokenType        string `json:"token_type"`
	MatrixServerName string `json:"matrix_server_name"`
	ExpiresIn        int    `json:"expires_in"`
}

type member struct {
	ID     string `json:"id"`
	User   string `json:"claimed_user_id"`
	Device string `json:"claimed_device_id"`
}

type legacy struct {
	Room        string `json:"room"`
	OpenIDToken openID `json:"openid_token"`
	Device      string `json:"device_id"`
}

type sfu struct {
	Room        string `json:"room_id"`
	Slot        string `json:"slot_id"`
	OpenIDToken openID `json:"openid_token"`
	Member      member `json:"member"`
}

type question struct {
	Op      string   `json:"op"`
	Strings []string `json:"strings"`
	Path    string   `json:"path"`
	Body    []byte   `json:"body"`
	Target  []byte   `json:"target"`
}

type answer struct {
	Out    []byte            `json:"out"`
	OK     bool              `json:"ok"`
	Fields map[string]string `json:"fields"`
}

func read(path string, body []byte) answer {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if path == "/sfu/get" {
		var request legacy
		err := decoder.Decode(&request)
		return answer{OK: err == nil, Fields: map[string]string{
			"room": request.Room, "device": request.Device,
		}}
	}
	var request sfu
	err := decoder.Decode(&request)
	return answer{OK: err == nil, Fields: map[string]string{
		"room": request.Room, "slot": request.Slot, "user": request.Member.User,
		"device": request.Member.Device, "member": request.Member.ID,
	}}
}

func route(target []byte) string {
	raw := append(append([]byte("POST "), target...), []byte(" HTTP/1.1\r\nHost: h\r\n\r\n")...)
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return ""
	}
	served := ""
	mux := http.NewServeMux()
	for _, path := range []string{"/get_token", "/sfu/get"} {
		mux.HandleFunc(path, func(http.ResponseWriter, *http.Request) { served = path })
	}
	mux.ServeHTTP(httptest.NewRecorder(), request)
	return served
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			panic(err)
		}
		var a answer
		switch q.Op {
		case "marshal":
			a.Out, _ = json.Marshal(q.Strings)
		case "read":
			a = read(q.Path, q.Body)
		case "route":
			a.Out = []byte(route(q.Target))
		}
		if err := out.Encode(a); err != nil {
			panic(err)
		}
	}
}
