"""What DynamoDB's tables do beyond moto's: sizes, capacity, limits, reading, transactions, TTL."""
