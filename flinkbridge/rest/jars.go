package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/activedataflow/adf/fault"
)

// Jar is an uploaded one.
type Jar struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Uploaded Millis `json:"uploaded"`
}

// Jars lists the uploaded ones.
func (c *Client) Jars(ctx context.Context) ([]Jar, error) {
	var a struct {
		Files []Jar `json:"files"`
	}
	return a.Files, c.do(ctx, call{doing: "list the JARs", path: []string{"jars"}}, &a)
}

// UploadJar sends a file and gives its id. A JAR stays on the JobManager until it is deleted.
func (c *Client) UploadJar(ctx context.Context, file string) (id string, err error) {
	q := call{doing: "upload a JAR", method: http.MethodPost, path: []string{"jars", "upload"}, slow: true}
	f, err := os.Open(file)
	if err != nil {
		return "", c.failure(q, "flink.jar", fault.RetryNever, err, "")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", c.failure(q, "flink.jar", fault.RetryNever, err, "")
	}
	var around bytes.Buffer
	form := multipart.NewWriter(&around)
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", `form-data; name="jarfile"; filename="`+strings.NewReplacer(`"`, "", `\`, "").Replace(filepath.Base(file))+`"`)
	header.Set("Content-Type", "application/x-java-archive")
	if _, err = form.CreatePart(header); err != nil {
		return "", c.failure(q, "flink.jar", fault.RetryNever, err, "")
	}
	head := around.Len()
	if err = form.Close(); err != nil {
		return "", c.failure(q, "flink.jar", fault.RetryNever, err, "")
	}
	parts := around.Bytes()
	q.raw = io.MultiReader(bytes.NewReader(parts[:head]), f, bytes.NewReader(parts[head:]))
	q.size, q.kind = int64(len(parts))+info.Size(), form.FormDataContentType()
	var a struct {
		File string `json:"filename"`
	}
	if err := c.do(ctx, q, &a); err != nil {
		if d, ok := fault.DetailOf(err); ok && d.Code == "flink.answer" {
			d.Fix = "the server must take JARs: web.submit.enable of the cluster is true"
		}
		return "", err
	}
	if a.File == "" {
		return "", c.failure(q, "flink.answer", fault.RetryNever, errors.New("the server does not say where the JAR is"), "")
	}
	return path.Base(a.File), nil
}

// RunJar is how a JAR is run.
type RunJar struct {
	EntryClass string `json:"entryClass,omitempty"`
	// SavepointPath is where the job goes on from; "" starts it over.
	SavepointPath string `json:"savepointPath,omitempty"`
	// AllowNonRestored lets state be dropped that no operator of the job wants.
	AllowNonRestored bool     `json:"allowNonRestoredState,omitempty"`
	Parallelism      int      `json:"parallelism,omitempty"` // 0: the cluster's default
	ProgramArgs      []string `json:"programArgsList,omitempty"`
	// JobID is 32 hexadecimal digits; "" lets Flink choose.
	JobID string `json:"jobId,omitempty"`
	// Config are options of Flink for this job.
	Config map[string]string `json:"flinkConfiguration,omitempty"`
}

// RunJar runs a JAR and gives the id of its job. It returns when the JAR's main method has.
func (c *Client) RunJar(ctx context.Context, id string, r RunJar) (string, error) {
	var a struct {
		ID string `json:"jobid"`
	}
	q := call{doing: "run a JAR", method: http.MethodPost, path: []string{"jars", id, "run"}, body: r, slow: true, runs: true, missing: "JAR " + id}
	return a.ID, c.do(ctx, q, &a)
}

// DeleteJar removes an uploaded JAR; jobs that run from it are not touched.
func (c *Client) DeleteJar(ctx context.Context, id string) error {
	return c.do(ctx, call{doing: "delete a JAR", method: http.MethodDelete, path: []string{"jars", id}, missing: "JAR " + id}, nil)
}
