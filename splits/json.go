package splits

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// JSON is a codec that writes splits as JSON objects, version 1. A later release may add fields with omitempty; data with a field that
// this release does not know is refused, since it may hold the position.
func JSON[V any]() Codec[V] { return jsonCodec[V]{} }

const jsonVersion = 1

type jsonCodec[V any] struct{}

func (jsonCodec[V]) Version() int               { return jsonVersion }
func (jsonCodec[V]) Encode(v V) ([]byte, error) { return json.Marshal(v) }

func (jsonCodec[V]) Decode(version int, data []byte) (v V, err error) {
	if version != jsonVersion {
		return v, fmt.Errorf("got version %d of the wire form, want %d", version, jsonVersion)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, err
	}
	if _, err := d.Token(); err == nil {
		return v, errors.New("there is data behind the value")
	}
	return v, nil
}
