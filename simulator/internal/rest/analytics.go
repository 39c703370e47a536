package rest

import (
	"net/http"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// analytics serves the lists of reports and dashboards, which hold what the user viewed recently, and their describes.
func (a *API) analytics(c *Call, path []string) {
	if len(path) == 0 {
		reply.JSON(c.W, http.StatusOK, map[string]string{"reports": c.Base + "/analytics/reports", "dashboards": c.Base + "/analytics/dashboards"})
		return
	}
	if !c.method(http.MethodGet) {
		return
	}
	object, kind := "Report", strings.ToLower(path[0])
	switch kind {
	case "reports":
	case "dashboards":
		object = "Dashboard"
	default:
		reply.NotFound(c.W)
		return
	}
	a.DB.RLock()
	defer a.DB.RUnlock()
	t := a.DB.Table(object)
	switch {
	case t == nil:
		reply.NotFound(c.W)
	case len(path) == 1:
		a.recentlyViewed(c, t, kind)
	case len(path) == 3 && strings.EqualFold(path[2], "describe"):
		a.analyticsDescribe(c, t, path[1])
	default:
		reply.NotFound(c.W)
	}
}

const maxRecent = 200

func (a *API) recentlyViewed(c *Call, t *store.Table, kind string) {
	type report struct {
		Describe  string `json:"describeUrl"`
		ID        string `json:"id"`
		Instances string `json:"instancesUrl"`
		Name      string `json:"name"`
		URL       string `json:"url"`
	}
	type dashboard struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Status string `json:"statusUrl"`
		URL    string `json:"url"`
	}
	reports, dashboards := []report{}, []dashboard{}
	viewed, name := t.Object.Field("LastViewedDate"), t.Object.NameField
	for n := uint32(1); n <= t.Count() && len(reports)+len(dashboards) < maxRecent; n++ {
		r := t.Row(n)
		if r.State != store.Live || r.Get(viewed.Slot) == "" {
			continue
		}
		url := c.Base + "/analytics/" + kind + "/" + t.ID(n)
		if kind == "reports" {
			reports = append(reports, report{url + "/describe", t.ID(n), url + "/instances", r.Get(name.Slot), url})
		} else {
			dashboards = append(dashboards, dashboard{t.ID(n), r.Get(name.Slot), url + "/status", url})
		}
	}
	if kind == "reports" {
		reply.JSON(c.W, http.StatusOK, reports)
		return
	}
	reply.JSON(c.W, http.StatusOK, dashboards)
}

func (a *API) analyticsDescribe(c *Call, t *store.Table, id string) {
	canonical, ok := store.ValidID(id)
	n := uint32(0)
	if ok {
		n = t.Serial(canonical)
	}
	if n == 0 || t.Row(n).State != store.Live {
		reply.NotFound(c.W)
		return
	}
	get := func(name string) string {
		if f := t.Object.Field(name); f != nil {
			return t.Value(n, t.Row(n), f)
		}
		return ""
	}
	if t.Object.Name == "Dashboard" {
		reply.JSON(c.W, http.StatusOK, map[string]any{
			"id": canonical, "name": get("Title"), "developerName": get("DeveloperName"), "description": ptr(get("Description")), "folderId": get("FolderId"),
			"dashboardType": get("Type"), "components": []string{}, "filters": []string{}, "layout": map[string]any{"gridLayout": true},
		})
		return
	}
	reply.JSON(c.W, http.StatusOK, map[string]any{
		"attributes":             map[string]string{"describeUrl": c.Base + "/analytics/reports/" + canonical + "/describe", "instancesUrl": c.Base + "/analytics/reports/" + canonical + "/instances", "type": "Report", "reportId": canonical, "reportName": get("Name")},
		"reportExtendedMetadata": map[string]any{"aggregateColumnInfo": map[string]any{}, "detailColumnInfo": map[string]any{}, "groupingColumnInfo": map[string]any{}},
		"reportTypeMetadata":     map[string]any{"categories": []string{}},
		"reportMetadata": map[string]any{
			"id": canonical, "name": get("Name"), "developerName": get("DeveloperName"), "description": ptr(get("Description")), "folderId": get("OwnerId"),
			"reportFormat": strings.ToUpper(get("Format")), "reportType": map[string]string{"type": "ContactList", "label": "Contacts & Accounts"}, "detailColumns": []string{"FIRST_NAME", "LAST_NAME", "EMAIL"},
			"aggregates": []string{"RowCount"}, "groupingsDown": []string{}, "groupingsAcross": []string{}, "reportFilters": []string{}, "reportBooleanFilter": nil, "hasDetailRows": true,
			"hasRecordCount": true, "showGrandTotal": true, "showSubtotals": true, "scope": "organization", "sortBy": []string{}, "currency": nil, "chart": nil, "standardFilters": nil,
			"topRows": nil, "buckets": []string{}, "crossFilters": []string{}, "division": nil,
		},
	})
}
