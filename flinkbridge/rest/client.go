package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/activedataflow/adf/fault"
)

// Config says where a cluster is and how it is spoken with.
type Config struct {
	// Address is that of the JobManager's REST server, as "http://127.0.0.1:8081"; a path behind it is kept.
	Address string
	// CA is a file of certificates (PEM) to trust instead of the system's.
	CA string
	// Cert and Key are the files (PEM) of the certificate that the client shows.
	Cert, Key string
	// TLS is used as it is when CA, Cert and Key do not say enough.
	TLS *tls.Config
	// Headers go with every request, as {"Authorization": "Bearer …"}. They are never logged or told.
	Headers map[string]string
	// Timeout bounds a request; sending and running a JAR have ten times as long. 0: 30 s.
	Timeout time.Duration
	// Outage is how long waiting for something goes on while nobody answers, as when another JobManager takes over. 0: 2 min.
	Outage time.Duration
}

// Client speaks with one cluster. It can be used by many goroutines.
type Client struct {
	base    *url.URL
	headers map[string]string
	timeout time.Duration
	outage  time.Duration
	http    *http.Client
}

// New makes a client; nothing is sent yet. What is wrong with the configuration comes as one [fault.ConfigurationError].
func New(c Config) (*Client, error) {
	var wrong []fault.Violation
	base, err := url.Parse(c.Address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		fix := ""
		if c.Address != "" && !strings.Contains(c.Address, "://") {
			fix = fmt.Sprintf("did you mean %q?", "http://"+c.Address)
		}
		got := fmt.Sprintf("%q", c.Address)
		if c.Address == "" {
			got = "nothing"
		}
		wrong = append(wrong, violation("address", got, "the address of Flink's REST server, as http://127.0.0.1:8081", fix))
	}
	config, more := c.tls()
	wrong = append(wrong, more...)
	if base != nil && base.Scheme == "http" && (c.CA != "" || c.Cert != "" || c.Key != "") {
		wrong = append(wrong, violation("address", fmt.Sprintf("%q beside certificates", c.Address), "an address that begins with https://", ""))
	}
	for name, value := range c.Headers {
		if name == "" || strings.ContainsAny(name, " \t\r\n:") || strings.ContainsAny(value, "\r\n") {
			wrong = append(wrong, violation("headers", fmt.Sprintf("a header named %q", name), "a header as NAME: VALUE, in one line", ""))
		}
	}
	if len(wrong) > 0 {
		return nil, fault.Config(wrong...)
	}
	base = &url.URL{Scheme: base.Scheme, User: base.User, Host: base.Host, Path: strings.TrimRight(base.Path, "/")}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Outage == 0 {
		c.Outage = 2 * time.Minute
	}
	return &Client{base: base, headers: maps.Clone(c.Headers), timeout: c.Timeout, outage: c.Outage, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // headers may be secret: they go nowhere else
	}}, nil
}

func violation(path, got, want, fix string) fault.Violation {
	return fault.Violation{Path: path, Got: got, Want: want, Fix: fix, Code: "flink.config"}
}

func (c Config) tls() (*tls.Config, []fault.Violation) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLS != nil {
		config = c.TLS.Clone()
	}
	var wrong []fault.Violation
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err == nil {
			if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
				err = errors.New("there is no certificate in it")
			}
		}
		if err != nil {
			wrong = append(wrong, violation("ca", fmt.Sprintf("%q: %v", c.CA, err), "a file with certificates in PEM", ""))
		}
	}
	if c.Cert != "" || c.Key != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			wrong = append(wrong, violation("cert", fmt.Sprintf("%q and %q: %v", c.Cert, c.Key, err), "a certificate and its key, both in PEM", ""))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, wrong
}

// Address is where the cluster is, without a password.
func (c *Client) Address() string { return c.base.Redacted() }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// DashboardURL is where people see a job, or the cluster when id is "".
func (c *Client) DashboardURL(id string) string {
	u := *c.base
	u.User = nil
	if id == "" {
		return u.String() + "/#/overview"
	}
	return u.String() + "/#/job/running/" + id + "/overview"
}

// call is one request.
type call struct {
	doing  string // "list jobs"
	method string
	path   []string // parts, escaped here
	query  url.Values
	body   any       // JSON
	raw    io.Reader // instead of body
	kind   string    // content type of raw
	size   int64     // of raw
	slow   bool      // the server works on it
	// missing is what a 404 is about, as "job 0123"; "" when nothing can be missing.
	missing string
	// runs: the server runs code of a JAR for it; a failure of that is no outage.
	runs bool
}

const (
	mostJSON = 64 << 20
	mostText = 64 << 10 // of an answer that is no JSON
)

// do sends a request and decodes its answer into v, when v is not nil.
func (c *Client) do(ctx context.Context, q call, v any) error {
	data, err := c.send(ctx, q, mostJSON)
	if err != nil || v == nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return c.failure(q, "flink.answer", fault.RetryNever, fmt.Errorf("the answer is no JSON as Flink gives it: %w: %s", err, excerpt(data)),
			"check that "+c.Address()+" is Flink's REST server, and the version of Flink")
	}
	return nil
}

// send sends a request and gives the body of its answer, up to most bytes of it.
func (c *Client) send(ctx context.Context, q call, most int64) ([]byte, error) {
	timeout := c.timeout
	if q.slow {
		timeout *= 10
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	u := c.base.JoinPath(q.path...)
	u.RawQuery = q.query.Encode()
	body := q.raw
	if q.body != nil {
		data, err := json.Marshal(q.body)
		if err != nil {
			return nil, c.failure(q, "flink.request", fault.RetryNever, err, "")
		}
		body, q.kind = bytes.NewReader(data), "application/json"
	}
	if q.method == "" {
		q.method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), body)
	if err != nil {
		return nil, c.failure(q, "flink.request", fault.RetryNever, err, "")
	}
	if q.raw != nil {
		req.ContentLength = q.size
	}
	if q.kind != "" {
		req.Header.Set("Content-Type", q.kind)
	}
	req.Header.Set("Accept", "application/json")
	for name, value := range c.headers {
		req.Header.Set(name, value)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, q, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, c.unreachable(ctx, q, err)
	}
	if resp.StatusCode >= 300 {
		return nil, c.refusal(q, resp, data)
	}
	return data, nil
}
