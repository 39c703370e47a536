package oauth

import (
	"net/http"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// user reads one field of a user.
func (s *Server) user(id, field string) string {
	s.db.RLock()
	defer s.db.RUnlock()
	t := s.db.MustTable("User")
	n := t.Serial(id)
	if n == 0 {
		return ""
	}
	return t.Value(n, t.Row(n), t.Object.Field(field))
}

func (s *Server) userByName(username string) string {
	s.db.RLock()
	defer s.db.RUnlock()
	t := s.db.MustTable("User")
	for n := range t.Lookup(t.Object.Field("Username"), username) {
		return t.ID(n)
	}
	return ""
}

// history writes a row of LoginHistory.
func (s *Server) history(r *http.Request, userID, status string) {
	if userID == "" {
		if userID = s.userByName(r.Form.Get("username")); userID == "" {
			s.mu.Lock()
			userID = s.cfg.RunAs
			s.mu.Unlock()
		}
	}
	s.db.Lock()
	defer s.db.Unlock()
	t := s.db.Table("LoginHistory")
	if t == nil {
		return
	}
	host, _, _ := strings.Cut(r.RemoteAddr, "]")
	if i := strings.LastIndexByte(r.RemoteAddr, ':'); i > 0 && !strings.Contains(host, "[") {
		host = r.RemoteAddr[:i]
	}
	values := t.Values(&store.Row{}, nil)
	now := s.db.Now()
	for field, v := range map[string]string{
		"UserId": userID, "LoginTime": now.Truncate(time.Second).Format("2006-01-02T15:04:05.000Z"), "LoginType": "Remote Access 2.0",
		"SourceIp": strings.Trim(host, "[]"), "LoginUrl": r.Host, "Status": status, "Application": "simulator client", "Browser": "Unknown", "Platform": "Unknown",
		"ClientVersion": "N/A", "ApiType": "N/A", "ApiVersion": "N/A", "TlsProtocol": "TLS 1.3", "CountryIso": "US",
	} {
		if f := t.Object.Field(field); f != nil {
			values[f.Slot] = v
		}
	}
	t.Insert(values, now, s.db.UserSerial(userID))
}

// bearer finds the session of a userinfo or identity call.
func (s *Server) bearer(w http.ResponseWriter, r *http.Request) *Session {
	token := r.FormValue("oauth_token")
	if token == "" {
		token = r.FormValue("access_token")
	}
	if scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "OAuth") {
		token = strings.TrimSpace(rest)
	}
	x, ok := s.Check(token)
	if !ok {
		text := "Bad_OAuth_Token"
		if token == "" {
			text = "Missing_OAuth_Token"
		}
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(text))
		return nil
	}
	return x
}

type photos struct {
	Picture   string `json:"picture"`
	Thumbnail string `json:"thumbnail"`
}

type urls struct {
	Enterprise   string `json:"enterprise"`
	Metadata     string `json:"metadata"`
	Partner      string `json:"partner"`
	Rest         string `json:"rest"`
	Sobjects     string `json:"sobjects"`
	Search       string `json:"search"`
	Query        string `json:"query"`
	Recent       string `json:"recent"`
	ToolingSoap  string `json:"tooling_soap"`
	ToolingRest  string `json:"tooling_rest"`
	Profile      string `json:"profile"`
	Feeds        string `json:"feeds"`
	Groups       string `json:"groups"`
	Users        string `json:"users"`
	FeedItems    string `json:"feed_items"`
	FeedElements string `json:"feed_elements"`
	CustomDomain string `json:"custom_domain"`
}

func (s *Server) urls(r *http.Request, userID string) urls {
	o, org, version := Origin(r), s.cfg.OrgID[:15], "{version}"
	if v := r.FormValue("version"); v != "" && v != "latest" {
		version = strings.TrimPrefix(v, "v")
	} else if v == "latest" {
		version = s.cfg.Latest
	}
	data := o + "/services/data/v" + version
	return urls{
		o + "/services/Soap/c/" + version + "/" + org, o + "/services/Soap/m/" + version + "/" + org, o + "/services/Soap/u/" + version + "/" + org,
		data + "/", data + "/sobjects/", data + "/search/", data + "/query/", data + "/recent/", o + "/services/Soap/T/" + version + "/" + org, data + "/tooling/",
		o + "/" + userID, data + "/chatter/feeds", data + "/chatter/groups", data + "/chatter/users", data + "/chatter/feed-items", data + "/chatter/feed-elements", o,
	}
}

type userinfo struct {
	Sub               string            `json:"sub"`
	UserID            string            `json:"user_id"`
	OrganizationID    string            `json:"organization_id"`
	PreferredUsername string            `json:"preferred_username"`
	Nickname          string            `json:"nickname"`
	Name              string            `json:"name"`
	Email             string            `json:"email"`
	EmailVerified     bool              `json:"email_verified"`
	GivenName         *string           `json:"given_name"`
	FamilyName        string            `json:"family_name"`
	Zoneinfo          string            `json:"zoneinfo"`
	Photos            photos            `json:"photos"`
	Profile           string            `json:"profile"`
	Picture           string            `json:"picture"`
	Address           map[string]string `json:"address"`
	Integration       bool              `json:"is_salesforce_integration_user"`
	URLs              urls              `json:"urls"`
	Active            bool              `json:"active"`
	UserType          string            `json:"user_type"`
	Language          string            `json:"language"`
	Locale            string            `json:"locale"`
	UTCOffset         int               `json:"utcOffset"`
	UpdatedAt         string            `json:"updated_at"`
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func stamp(v string) string { return strings.Replace(v, ".000Z", "Z", 1) }

// offsetOf is a zone's standard offset from UTC in milliseconds.
func offsetOf(zone string, now time.Time) int {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return 0
	}
	_, sec := time.Date(now.Year(), 1, 1, 0, 0, 0, 0, loc).Zone()
	return sec * 1000
}

// Userinfo answers /services/oauth2/userinfo.
func (s *Server) Userinfo(w http.ResponseWriter, r *http.Request) {
	x := s.bearer(w, r)
	if x == nil {
		return
	}
	noStore(w)
	o := Origin(r)
	get := func(f string) string { return s.user(x.UserID, f) }
	address := map[string]string{}
	for key, f := range map[string]string{"street_address": "Street", "locality": "City", "region": "State", "postal_code": "PostalCode", "country": "Country"} {
		if v := get(f); v != "" {
			address[key] = v
		}
	}
	reply.JSON(w, http.StatusOK, userinfo{
		s.identity(r, x.UserID), x.UserID, s.cfg.OrgID, get("Username"), get("CommunityNickname"), get("Name"), get("Email"), true,
		text(get("FirstName")), get("LastName"), get("TimeZoneSidKey"),
		photos{o + "/profilephoto/005/F", o + "/profilephoto/005/T"},
		o + "/" + x.UserID,
		o + "/profilephoto/005/F", address, false, s.urls(r, x.UserID), get("IsActive") == "true", "STANDARD", get("LanguageLocaleKey"), get("LocaleSidKey"),
		offsetOf(get("TimeZoneSidKey"), s.db.Now()), stamp(get("LastModifiedDate")),
	})
}

type identity struct {
	ID             string  `json:"id"`
	Asserted       bool    `json:"asserted_user"`
	UserID         string  `json:"user_id"`
	OrganizationID string  `json:"organization_id"`
	Username       string  `json:"username"`
	Nickname       string  `json:"nick_name"`
	DisplayName    string  `json:"display_name"`
	Email          string  `json:"email"`
	EmailVerified  bool    `json:"email_verified"`
	FirstName      *string `json:"first_name"`
	LastName       string  `json:"last_name"`
	Timezone       string  `json:"timezone"`
	Photos         photos  `json:"photos"`
	Street         *string `json:"addr_street"`
	City           *string `json:"addr_city"`
	State          *string `json:"addr_state"`
	Country        *string `json:"addr_country"`
	Zip            *string `json:"addr_zip"`
	Mobile         *string `json:"mobile_phone"`
	MobileVerified bool    `json:"mobile_phone_verified"`
	Lightning      bool    `json:"is_lightning_login_user"`
	Status         struct {
		Created *string `json:"created_date"`
		Body    *string `json:"body"`
	} `json:"status"`
	URLs         urls   `json:"urls"`
	Active       bool   `json:"active"`
	UserType     string `json:"user_type"`
	Language     string `json:"language"`
	Locale       string `json:"locale"`
	UTCOffset    int    `json:"utcOffset"`
	Modified     string `json:"last_modified_date"`
	AppInstalled bool   `json:"is_app_installed"`
}

// Identity answers /id/<orgId>/<userId>.
func (s *Server) Identity(w http.ResponseWriter, r *http.Request, orgID, userID string) {
	x := s.bearer(w, r)
	if x == nil {
		return
	}
	noStore(w)
	org, ok := store.ValidID(orgID)
	id, ok2 := store.ValidID(userID)
	if !ok || !ok2 || org != s.cfg.OrgID || s.user(id, "Username") == "" {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("Bad_Id"))
		return
	}
	if id != x.UserID && !x.API() {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("Forbidden"))
		return
	}
	o := Origin(r)
	get := func(f string) string { return s.user(id, f) }
	out := identity{
		ID: s.identity(r, id), Asserted: id == x.UserID, UserID: id, OrganizationID: s.cfg.OrgID, Username: get("Username"), Nickname: get("CommunityNickname"),
		DisplayName: get("Name"), Email: get("Email"), EmailVerified: true, FirstName: text(get("FirstName")), LastName: get("LastName"), Timezone: get("TimeZoneSidKey"),
		Photos: photos{o + "/profilephoto/005/F", o + "/profilephoto/005/T"}, Street: text(get("Street")), City: text(get("City")), State: text(get("State")),
		Country: text(get("Country")), Zip: text(get("PostalCode")), Mobile: text(get("MobilePhone")), URLs: s.urls(r, id), Active: get("IsActive") == "true",
		UserType: "STANDARD", Language: get("LanguageLocaleKey"), Locale: get("LocaleSidKey"), UTCOffset: offsetOf(get("TimeZoneSidKey"), s.db.Now()),
		Modified: stamp(get("LastModifiedDate")), AppInstalled: true,
	}
	reply.JSON(w, http.StatusOK, out)
}
