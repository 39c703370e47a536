// Command salesforce-sim serves a simulated Salesforce org.
package main

func main() {}
